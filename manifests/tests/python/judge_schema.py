"""Validates documents against a CDDL schema with cddl-verifier, an implementation that is not ours.

Usage: judge_schema.py SCHEMA. Each line of standard input is `RULE HEX`; the answer is a line: `ok`, or `refused: WHY`.
"""

import sys

from cddl_verifier import Validator


def main():
    with open(sys.argv[1], encoding="utf-8") as schema:
        validator = Validator(schema.read())
    for line in sys.stdin:
        rule, document = line.split()
        try:
            result = validator.validate(bytes.fromhex(document), rule, require_deterministic=True)
            answer = "ok" if result else "refused: " + " | ".join(result.errors)
        except Exception as why:  # bytes that are not CBOR at all
            answer = f"refused: {type(why).__name__}: {why}"
        print(answer.replace("\n", " "), flush=True)


main()
