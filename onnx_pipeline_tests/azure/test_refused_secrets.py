"""A secret in `onnx:` is refused when definitions load, since a URI is shown in the UI and kept in metadata."""

import traceback

import pytest

from onnx_pipeline.base.errors import SpecError
from onnx_pipeline.spec.scoring import ScoringSpec
from onnx_pipeline_tests.dagster.test_component import GOOD, load

BLOB = "https://wards.blob.core.windows.net/models/m.onnx"
SAS = "sv=2025-01-05&se=2099-01-01T00%3A00%3A00Z&sr=b&sp=r&sig=aHVzaA%2Bhush%3D"


def spec_of(uri):
    return ScoringSpec(name="visits", onnx=uri, source="visits", key=["id"], target="scored")


@pytest.mark.parametrize(
    ("uri", "named"),
    [
        (f"{BLOB}?{SAS}", "`sig=`"),
        (f"{BLOB}?sig=hush", "`sig=`"),
        (f"{BLOB}%3Fsv=1%26sig%3Dhush", "`sig=`"),
        (f"az://models/m.onnx?{SAS}", "`sig=`"),
        (f"abfss://models@wards.dfs.core.windows.net/m.onnx?{SAS}", "`sig=`"),
        (f"{BLOB}#sig=hush", "`sig=`"),
        (f"{BLOB}?code=hush", "a query"),
        ("https://me:hush@wards.blob.core.windows.net/models/m.onnx", "a user or a password before the `@`"),
        ("https://hush@wards.blob.core.windows.net/models/m.onnx", "a user or a password before the `@`"),
        ("az://me:hush@models/m.onnx", "a user or a password before the `@`"),
        ("DefaultEndpointsProtocol=https;AccountName=wards;AccountKey=hush==", "`AccountKey=`"),
        ("BlobEndpoint=https://wards.blob.core.windows.net;SharedAccessSignature=sv=1", "`SharedAccessSignature=`"),
        ("azureml://models/m/versions/1?token=hush", "`token=`"),
    ],
)
def test_a_secret_is_refused_and_not_repeated(uri, named):
    with pytest.raises(SpecError) as caught:
        spec_of(uri)
    said = "".join(traceback.format_exception(caught.value, chain=True))
    message = str(caught.value)
    assert message.startswith(f"onnx holds {named}")
    assert "sign in from the environment: AZURE_STORAGE_SAS_TOKEN, AZURE_STORAGE_KEY" in message
    for part in ("hush", "aHVzaA", "2099"):
        assert part not in message
        assert part not in said.replace(uri, "")


@pytest.mark.parametrize(
    "uri",
    [
        "../models/length of stay #2.onnx",
        "models/key=1/sig=2/model.onnx",
        "models/what?.onnx",
        "file:///models/a%20b.onnx",
        "az://models/é 100%#1.onnx",
        "abfss://models@wards.dfs.core.windows.net/x/a.onnx",
        f"{BLOB.removesuffix('m.onnx')}a%20b.onnx",
        "azureml://registries/r/models/m/labels/latest",
    ],
)
def test_a_uri_without_a_secret_stays_as_it_is(uri):
    assert spec_of(uri).onnx == uri


# Dagster's own reading of defs.yaml.
@pytest.mark.filterwarnings("ignore:.*parse_obj_as.*:DeprecationWarning")
@pytest.mark.parametrize("also_wrong", ["", "\n  rescore: latest"])
def test_loading_definitions_says_which_file_and_attribute_and_no_secret(also_wrong, monkeypatch, caplog):
    text = GOOD.replace("model.onnx", f"{BLOB}?{SAS}") + also_wrong
    # The others of the project go on, and this one stands there as a job that fails with what is wrong.
    described = load(text).resolve_job_def("visits").description
    for said in (described, caplog.text):
        assert "SpecError: " in said or "is left out: " in said
        assert "defs.yaml:" in said
        assert "onnx holds `sig=`" in said
        assert "hush" not in said
    # `dg check defs` gets the error itself.
    monkeypatch.setenv("DAGSTER_IS_DEFS_VALIDATION_CLI", "1")
    with pytest.raises(Exception) as caught:
        load(text)
    said = "".join(traceback.format_exception(caught.value))
    assert "hush" not in said
    assert "onnx holds `sig=`" in said
    assert "defs.yaml:4: onnx holds `sig=`" in said
