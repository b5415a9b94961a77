"""How `train` runs a script: arguments, live output, how it ended, and what is said about that."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import pytest


def test_a_script_that_ends_well_leaves_a_success_and_no_failure(job: Any) -> None:
    job.write("train.py", "import sys; print('epoch 1'); print(sys.argv[1:])")
    job.hyperparameters |= {"epochs": 3}
    done = job.run()
    assert (done.returncode, job.failure, job.succeeded) == (0, None, True)
    assert done.stdout == "epoch 1\n['--epochs', '3']\n"
    assert done.stderr == ""


@pytest.mark.parametrize("status", [1, 3, 77])
def test_the_exit_status_of_the_script_is_passed_on(job: Any, status: int) -> None:
    job.write("train.py", f"import sys; sys.exit({status})")
    assert job.run().returncode == status
    assert job.failure.startswith(f"ExecuteUserScriptError:\nExitCode {status}\n")
    assert not job.succeeded


def test_a_script_killed_by_a_signal_counts_128_and_the_signal(job: Any) -> None:
    job.write("train.py", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert job.run().returncode == 137
    assert 'ExtraInfo "OutOfMemory: Process killed by SIGKILL (signal 9)"' in job.failure


def test_one_clear_line_on_stderr_is_the_failure(job: Any) -> None:
    job.write("train.py", "import sys; sys.exit('train.csv: row 17 has 9 columns, 11 expected')")
    done = job.run()
    assert 'ErrorMessage "train.csv: row 17 has 9 columns, 11 expected"' in job.failure
    assert done.stderr == "train.csv: row 17 has 9 columns, 11 expected\n"


def test_a_long_traceback_keeps_its_end_and_fits_into_a_failure_reason(job: Any) -> None:
    job.write(
        "train.py",
        "import sys\nfor i in range(500): print(f'OSError: number {i}', file=sys.stderr)\n"
        "raise ValueError('the cause')",
    )
    job.run()
    assert len(job.failure) <= 1024
    assert "ValueError: the cause" in job.failure
    assert job.failure.rstrip().endswith('train.py"')


def test_a_failure_that_the_script_wrote_itself_stays(job: Any) -> None:
    job.write(
        "train.py",
        "import os, sys\n"
        "open(os.environ['SM_OUTPUT_DIR'] + '/failure', 'w').write('mine')\nsys.exit(1)",
    )
    job.run()
    assert job.failure == "mine"


def test_output_comes_while_the_script_runs(job: Any) -> None:
    job.write(
        "train.py",
        "import sys, time\nsys.stderr.write('12%\\r'); sys.stderr.flush()\ntime.sleep(30)",
    )
    process = job.start()
    try:
        assert os.read(process.stderr.fileno(), 4) == b"12%\r"
    finally:
        process.terminate()
        process.communicate(timeout=10)


def test_sigterm_reaches_the_script_which_may_end_well(job: Any) -> None:
    job.write(
        "train.py",
        "import signal, sys, time\n"
        "def stop(*_): print('saving'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, stop)\nprint('ready', flush=True)\n"
        # Naps: a signal that comes between a look for one and a long sleep waits for its end.
        "for _ in range(600): time.sleep(0.1)",
    )
    process = job.start()
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=10)
    assert (out, process.returncode, job.failure, job.succeeded) == ("saving\n", 0, None, True)


def test_a_stopped_script_is_no_failure(job: Any) -> None:
    job.write("train.py", "import time; print('ready', flush=True); time.sleep(60)")
    process = job.start()
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert (process.returncode, job.failure, job.succeeded) == (143, None, False)


def test_a_process_left_behind_does_not_hold_the_job(job: Any) -> None:
    job.write(
        "train.py",
        "import subprocess, sys\nsubprocess.Popen(['sleep', '8'], stdout=subprocess.DEVNULL)",
    )
    started = time.monotonic()
    process = job.start()
    assert process.wait(timeout=7) == 0
    assert time.monotonic() - started < 7
    process.stdout.close()
    process.stderr.close()


def test_a_shell_script_gets_arguments_as_they_are(job: Any) -> None:
    job.write("run.sh", '#!/bin/sh\nprintf "%s|" "$@"\n')
    job.submit(str(job.source), "run.sh")
    job.hyperparameters |= {"text": "it's $HOME; `id`"}
    assert job.run().stdout == "--text|it's $HOME; `id`|"


def test_the_source_comes_first_on_the_import_path(job: Any) -> None:
    job.write("helper.py", "name = 'my own'")
    job.write("inner/train.py", "import helper; print(helper.name)")
    job.submit(str(job.source), "inner/train.py")
    assert job.run().stdout == "my own\n"


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (None, "is not named"),
        ("../train.py", "cannot be used"),
        ("/bin/sh", "cannot be used"),
        ("-c", "cannot be used"),
        ("train.py; id", "cannot be used"),
        ("other.py", "has no training entry point 'other.py'; it has train.py"),
    ],
)
def test_an_entry_point_that_cannot_be_run_is_named(job: Any, program: Any, said: str) -> None:
    job.write("train.py", "")
    job.submit(str(job.source), program)
    done = job.run()
    assert done.returncode == 1
    assert said in job.failure
    assert said in done.stderr


def test_a_distribution_needs_the_toolkit(job: Any) -> None:
    job.write("train.py", "")
    job.hyperparameters |= {"sagemaker_mpi_enabled": True}
    assert job.run().returncode == 1
    assert "sagemaker_mpi_enabled" in job.failure
    assert "Deep Learning Container" in job.failure


def test_a_broken_configuration_file_is_named(job: Any) -> None:
    job.resources = "{"
    done = job.run()
    assert done.returncode == 1
    assert "resourceconfig.json is not JSON" in job.failure


def test_jobs_of_a_tuning_job_get_their_own_model_dir(job: Any) -> None:
    job.write("train.py", "import os; print(os.environ['SM_HPS'])")
    job.hyperparameters |= {"model_dir": "s3://bucket/models", "_tuning_objective_metric": "loss"}
    job.variables["TRAINING_JOB_NAME"] = "tuning-1"
    assert json.loads(job.run().stdout) == {"model_dir": "s3://bucket/models/tuning-1/model"}
