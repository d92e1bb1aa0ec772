"""prompt-batch after `kill -9`, at moments that nobody chose: the bill and the table agree with what was asked."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg

from stagebook.testing.provider_process import ProviderProcess

PROMPTS = 160
STAGEBOOK = str(Path(sys.executable).with_name("stagebook"))


def stored(address: str) -> list[str]:
    """The prompts of all rows, failed ones marked."""
    with psycopg.connect(address) as connection:
        if connection.execute("SELECT to_regclass('prompt_evaluations')").fetchone() == (None,):
            return []
        rows = connection.execute("SELECT prompt, success FROM prompt_evaluations").fetchall()
    return sorted(prompt if success else f"{prompt} failed" for prompt, success in rows)


def test_a_batch_that_is_killed_pays_for_nothing_twice_and_stores_nothing_twice(tmp_path: Path, database: str) -> None:
    archives = tmp_path / "archives"
    archives.mkdir()
    for name in range(4):
        lines = [json.dumps({"question": f"question {name}-{number}"}) for number in range(PROMPTS // 4)]
        (archives / f"{name}.jsonl").write_text("\n".join(lines))
    rng = random.Random(4)
    with ProviderProcess(options=("--latency", "0.02")) as provider:
        environment = {
            **os.environ,
            "OPENAI_BASE_URL": provider.base_url,
            "OPENAI_API_KEY": "any",
            "RESULTS": database,
        }
        begin = ["run", "prompt-batch", "--set", "source=archives", "--set", "store=env:RESULTS"]
        code, at_risk, drives = 1, 0, 0
        while code != 0:
            words = begin if drives == 0 else ["resume", "last"]
            process = subprocess.Popen(
                [STAGEBOOK, *words], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            drives += 1
            seen = len(provider.bill().entries)
            goal = rng.randrange(20, PROMPTS // 3)
            while drives < 4 and process.poll() is None and len(provider.bill().entries) < seen + goal:
                time.sleep(0.01)
            if drives < 4 and process.poll() is None:
                process.send_signal(signal.SIGKILL)
            output, _ = process.communicate(timeout=120)
            code = process.returncode
            assert code in {0, -signal.SIGKILL}, output.decode()
            at_risk += 16 if code else 0
        bill = provider.bill()
    assert drives > 1
    again = bill.charged_again()
    assert len(again) <= at_risk  # what was in flight at a kill may be paid for again, and nothing else
    answered = [entry for entry in bill.charged if entry.ended == "answered"]
    assert len({entry.sha256 for entry in answered}) == PROMPTS
    assert stored(database) == sorted(f"question {name}-{n}" for name in range(4) for n in range(PROMPTS // 4))


def test_a_kill_while_results_are_stored_loses_and_doubles_no_row(tmp_path: Path, database: str) -> None:
    lines = [json.dumps({"question": f"question {number}"}) for number in range(700)]
    (tmp_path / "all.jsonl").write_text("\n".join(lines))
    with ProviderProcess() as provider:
        environment = {
            **os.environ,
            "OPENAI_BASE_URL": provider.base_url,
            "OPENAI_API_KEY": "any",
            "RESULTS": database,
        }
        words = [
            "run",
            "prompt-batch",
            "--set",
            "source=all.jsonl",
            "--set",
            "store=env:RESULTS",
            "--concurrency",
            "64",
        ]
        process = subprocess.Popen(
            [STAGEBOOK, *words], cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while process.poll() is None and not stored(database):
            time.sleep(0.005)
        process.kill()
        process.wait()
        begun = len(stored(database))
        asked = len(provider.bill().entries)
        done = subprocess.run(
            [STAGEBOOK, "resume", "last"], cwd=tmp_path, env=environment, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        assert len(provider.bill().entries) == asked
    assert begun % 100 == 0
    assert stored(database) == sorted(f"question {number}" for number in range(700))


CALL = """
import sys
from stagebook_pipelines.prompt_batch import execute_batch

done = execute_batch([f"question {number}" for number in range(160)], model="openai:gpt-4.1-mini", max_concurrency=8)
print(done.successful, done.run_id)
"""


def test_the_same_call_of_execute_batch_after_a_kill_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with ProviderProcess(options=("--latency", "0.02")) as provider:
        environment = {**os.environ, "OPENAI_BASE_URL": provider.base_url, "OPENAI_API_KEY": "any"}
        environment.pop("STAGEBOOK_LEDGER", None)
        command = [sys.executable, "-c", CALL]
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE)
        while process.poll() is None and len(provider.bill().entries) < 50:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        begun = len(provider.bill().entries)
        again = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True, text=True)
        asked = len(provider.bill().entries)
        third = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=True, text=True)
        answered = {entry.sha256 for entry in provider.bill().charged if entry.ended == "answered"}
        after = len(provider.bill().entries)
    assert process.returncode == -signal.SIGKILL
    assert begun < 160
    assert again.stdout.split()[0] == "160"
    assert len(answered) == 160
    assert asked <= 160 + 8  # what was in flight at the kill may be paid for again, and nothing else
    assert after == asked + 160  # it had come to its end, so it was asked anew
    assert again.stdout.split()[1] != third.stdout.split()[1]
