import subprocess
import sys

import isdm


def test_public_names_are_there() -> None:
    for name in isdm.__all__:
        assert callable(getattr(isdm, name)) or name == "__version__"


def test_report_is_a_function_and_a_package() -> None:
    code = "import isdm.report; from isdm import report; assert callable(report); report.tables"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_costs_nothing() -> None:
    code = "import sys, isdm; assert not {'torch', 'numpy', 'diffusers'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
