"""``python -m penstock build``: makes a component of a module. `penstock build` calls it, and gives the
folder of the contract's ``wit``, which the host has and this package has not."""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile

from .contract import VERSION
from .failures import Mistake, remember_source, roots, told
from .module import transforms_of

_ENTRY = '''\
"""What componentize-py looks for."""

import sys

sys.dont_write_bytecode = True
from penstock import component

globals().update(component.exports({module!r}))
'''


def main() -> int:
    """Gives the exit code: 0, or 2 for a transform that cannot be built."""
    parser = argparse.ArgumentParser(prog="python -m penstock", description=__doc__)
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="make a component of a module")
    build.add_argument("file", help="the module's file, as transform.py")
    build.add_argument("--wit", required=True, help="the folder of the contract's wit files")
    build.add_argument("--output", "-o", required=True, help="where to write the component")
    check = commands.add_parser("check", help="look through a module without building it")
    check.add_argument("file", help="the module's file, as transform.py")
    arguments = parser.parse_args()
    folder, name = os.path.split(os.path.abspath(arguments.file))
    module = os.path.splitext(name)[0]
    if not os.path.isfile(arguments.file):
        return _refused(f"there is no file {arguments.file}")
    sys.path.insert(0, folder)
    roots.append(folder)
    remember_source(os.path.abspath(arguments.file))
    try:
        transforms = transforms_of(module)
        for signature in (transforms.window, transforms.mapper):
            for record in (signature.row, signature.output, signature.state, signature.key) if signature else ():
                if record is not None:
                    record.schema()
    except Mistake as mistake:
        return _refused(str(mistake))
    except SyntaxError as error:
        return _refused(f"{os.path.basename(error.filename or name)}:{error.lineno}: {error.msg}: {(error.text or '').strip()}")
    except Exception as error:  # noqa: BLE001: whatever the author's file raises when it is imported
        return _refused(told(error))
    if arguments.command == "check":
        print(f"{name}: fine, a component of the world {transforms.world}")
        return 0
    return _componentize(folder, module, transforms.world, arguments.wit, arguments.output)


def _refused(why: str) -> int:
    print(f"error: {why}", file=sys.stderr)
    return 2


def _componentize(folder: str, module: str, world: str, wit: str, output: str) -> int:
    if importlib.util.find_spec("componentize_py") is not None:
        program = [sys.executable, "-c", "import sys, componentize_py; sys.exit(componentize_py.script())"]
    elif shutil.which("componentize-py"):
        program = ["componentize-py"]
    else:
        return _refused(f"componentize-py is missing: {sys.executable} -m pip install componentize-py==0.25.1")
    site = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    with tempfile.TemporaryDirectory() as entry:
        with open(os.path.join(entry, "penstock_entry.py"), "w", encoding="utf-8") as file:
            file.write(_ENTRY.format(module=module))
        # The author's folder comes first, as it is called /0 in what is built.
        paths = [argument for path in (folder, entry, site) for argument in ("-p", path)]
        command = [*program, "-q", "-d", wit, "-w", f"penstock:transform/{world}", "componentize", "--stub-wasi"]
        made = subprocess.run([*command, *paths, "penstock_entry", "-o", output], check=False)
    return made.returncode and 2


if __name__ == "__main__":
    sys.exit(main())
