"""mypy reads what users write as they mean it, and tells what they did not."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_what_users_write_is_typed_and_what_is_wrong_is_told(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", str(tmp_path), "declared.py"]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "Success: no issues found in 1 source file\n")
