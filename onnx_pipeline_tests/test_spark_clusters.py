"""Every kind of cluster that the tests start runs Arrow batches through Python."""

import pytest

from onnx_pipeline_tests.spark_clusters import LOCAL, LOCAL_CLUSTER, Standalone, session

pytestmark = pytest.mark.nightly  # the tests of the engine use the same clusters


def tripled(url: str) -> int:
    """The sum of 0 to 999, each three times, computed by four tasks."""

    def triple(batches):
        import pyarrow as pa
        import pyarrow.compute as pc

        for batch in batches:
            yield pa.record_batch({"id": pc.multiply(batch.column("id"), 3)})

    with session(url) as spark:
        rows = spark.range(0, 1000, 1, 4).mapInArrow(triple, "id long").collect()
    return sum(row["id"] for row in rows)


@pytest.mark.parametrize("url", [LOCAL, LOCAL_CLUSTER])
def test_in_processes_of_this_one(url: str, spark_settings: object) -> None:
    assert tripled(url) == 3 * 499_500


def test_on_a_master_with_two_workers(standalone: Standalone) -> None:
    assert tripled(standalone.url) == 3 * 499_500


def test_through_a_spark_connect_server(spark_connect: str) -> None:
    assert tripled(spark_connect) == 3 * 499_500
