"""Fuzzes one target in this process, by the code that its inputs reach: ``fuzzer.py TARGET ...``.

The words behind the target are libFuzzer's.
"""

import sys

import atheris

with atheris.instrument_imports(include=["octopull", "yaml", "tomllib"]):
    from fuzz.targets import TARGETS

if __name__ == "__main__":
    program, name, *words = sys.argv
    atheris.Setup([program, *words], TARGETS[name].try_out)
    atheris.Fuzz()
