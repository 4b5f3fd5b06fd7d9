"""Why something cannot be written, by what the operating system says."""

import errno
import os

import pytest

from onnx_pipeline.base.disk import full_disk, writing
from onnx_pipeline.base.errors import StagingError


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (
            errno.ENOSPC,
            r"its disk is full \(.+ of .+ are free on it, and 2\.9 MB were to come\), so .*\. Free space there",
        ),
        (
            errno.EDQUOT,
            r"this user's quota there is used up \(.+ are free on it.*\. Free space there or raise the quota",
        ),
        (errno.EFBIG, r"no file may grow that large there \(`ulimit -f`.*\. Raise the limit"),
        (errno.EROFS, r"its disk is mounted read-only, so .*\. Mount it for writing"),
        (errno.EACCES, r"this user may not \(Permission denied\), so .*\. Let this user write there"),
        (errno.ENOTDIR, r"a file stands where a folder should be"),
        (errno.EIO, "Input/output error, so .*Look at the disk"),
    ],
    ids=errno.errorcode.get,
)
def test_place_cause_and_remedy_are_named(tmp_path, code, says):
    folder = tmp_path / "not" / "made" / "yet"
    with (
        pytest.raises(StagingError, match=says) as raised,
        writing(
            folder, StagingError, lost="nothing is there", elsewhere="go elsewhere", then="try again", size=3_000_000
        ),
    ):
        raise OSError(code, os.strerror(code))
    assert str(raised.value).startswith(f"{folder} cannot be written: ")
    assert ", so nothing is there. " in str(raised.value)
    assert str(raised.value).endswith(", or go elsewhere, then try again.")


def test_other_errors_pass(tmp_path):
    with pytest.raises(ValueError, match="ours"), writing(tmp_path, StagingError, lost="x", then="y"):
        raise ValueError("ours")


def test_a_librarys_message_of_a_full_disk_gets_the_room_that_is_left(tmp_path):
    said = full_disk(tmp_path, 'Could not write file "x": No space left on device')
    assert "are free on it" in said and said.endswith("Free space there, then run this again")
    assert full_disk(tmp_path, "Table x does not exist") == ""
