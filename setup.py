"""What pyproject.toml cannot say: a wheel takes configs and weight files of the project along, inside the package."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class Build(build_py):
    """``configs`` becomes ``drpca/configs``, ``checkpoints/<name>-<hash>.pth`` becomes ``drpca/checkpoints/…``."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        package = Path(self.build_lib, 'drpca')
        shutil.rmtree(package / 'configs', ignore_errors=True)
        shutil.copytree('configs', package / 'configs', ignore=shutil.ignore_patterns('__pycache__'))
        (package / 'checkpoints').mkdir(exist_ok=True)
        for path in Path('checkpoints').glob(f'*-{"[0-9a-f]" * 8}.pth'):
            shutil.copy(path, package / 'checkpoints')


setup(cmdclass={'build_py': Build})
