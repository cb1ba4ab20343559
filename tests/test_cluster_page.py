"""The files for a cluster in docs/cluster.md: what a shell and the command take."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess

import pytest

from drpca.cli.train import build_parser
from drpca.errors import EXIT_INTERRUPTED, EXIT_REQUEUE
from tests.support import ROOT

PAGE = (ROOT / 'docs' / 'cluster.md').read_text(encoding='utf-8')
FILES = re.findall(r'```bash\n(.*?)```', PAGE, re.DOTALL)


@pytest.mark.parametrize('text', FILES)
def test_files_are_scripts_that_start_trainings(text: str) -> None:
    checkers = [['bash', '-n'], *([['shellcheck', '-']] if shutil.which('shellcheck') else [])]
    for checker in checkers:
        checked = subprocess.run(checker, input=text, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout + checked.stderr
    (line,) = [line for line in text.splitlines() if line.startswith('srun')]
    words = shlex.split(line.replace('"$SLURM_ARRAY_TASK_ID"', '3'))
    args = build_parser().parse_args(words[words.index('run_configs.py') + 1 :])
    assert args.resume
    assert args.launcher == ('none' if '--ntasks=1' in words else 'slurm')
    assert f'{EXIT_REQUEUE} | 138 | 143) scontrol requeue "$SLURM_JOB_ID"' in text
    assert '#SBATCH --signal=USR1@300' in text, 'without B:, which would ask the shell alone'


def test_there_are_three_and_the_codes_are_these() -> None:
    assert len(FILES) == 3
    assert f'exit code **{EXIT_REQUEUE}**' in PAGE
    assert f'**{EXIT_INTERRUPTED}** after' in PAGE
