#!/usr/bin/env python3
"""Generates the API clients of the SDKs from the OpenAPI document: `generate.py [--into FOLDER] [LANGUAGE…]`.

The generator (see generator.txt) gets a simpler document than the committed one; `simplify` holds every difference. Generated
code goes to LANGUAGE/generated and is not committed: what is committed is this, the settings beside it (LANGUAGE/generator.json)
and the layers that are written by hand.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
LANGUAGES = ("python", "typescript", "go", "java")
METHODS = ("get", "put", "post", "patch", "delete")


def simplify(document):
    """The document in words that all four generators understand."""
    schemas = document["components"]["schemas"]
    name_kinds(schemas)
    named = {shape(schema): name for name, schema in schemas.items()}
    for schema in schemas.values():
        for key, part in list(schema.items()):
            schema[key] = plain(part, named)
        without_nulls(schema)
    for path, item in list(document["paths"].items()):
        for method in METHODS:
            if method not in item:
                continue
            operation = item[method]
            if any("text/event-stream" in answer.get("content", {}) for answer in operation["responses"].values()):
                # Streams have no end; the layers written by hand read them.
                del item[method]
                continue
            item[method] = plain(operation, named)
            begin_only(item[method])
            for status, answer in item[method]["responses"].items():
                # Required by the specification, and asked for by the generator.
                answer.setdefault("description", f"Status {status}")
        if not item:
            del document["paths"][path]
    return document


def shape(schema):
    return json.dumps(schema, sort_keys=True)


def plain(part, named):
    """A part of the document: copies of a named schema become references to it; what may be null becomes what it is otherwise."""
    if isinstance(part, list):
        return [plain(entry, named) for entry in part]
    if not isinstance(part, dict):
        return part
    if shape(part) in named:
        return {"$ref": f"#/components/schemas/{named[shape(part)]}"}
    if isinstance(part.get("oneOf"), list) and {"type": "null"} in part["oneOf"]:
        (kept,) = [entry for entry in part["oneOf"] if entry != {"type": "null"}]
        part = {**kept, "x-null": True}
    if isinstance(part.get("type"), list):
        (kept,) = [entry for entry in part["type"] if entry != "null"]
        part = {**part, "type": kept, "x-null": True}
    part = {key: plain(value, named) for key, value in part.items() if key != "propertyNames"}
    without_nulls(part)
    return part


def without_nulls(schema):
    """A field that may be null need not be there: one way to say that there is nothing."""
    fields = schema.get("properties")
    if not isinstance(fields, dict):
        return
    empty = {name for name, field in fields.items() if isinstance(field, dict) and field.pop("x-null", False)}
    if "required" in schema:
        schema["required"] = [name for name in schema["required"] if name not in empty]


def name_kinds(schemas):
    """Alternatives told apart by a word (`kind`) get names, and the word becomes the discriminator."""
    for name, schema in list(schemas.items()):
        kinds = schema.get("oneOf", [])
        words = [kind.get("properties", {}).get("kind", {}).get("enum", []) for kind in kinds]
        if len(kinds) < 2 or not all(len(word) == 1 for word in words):
            continue
        mapping = {}
        for kind, (word,) in zip(kinds, words, strict=True):
            own = f"{name}{word.capitalize()}"
            schemas[own] = kind
            mapping[word] = f"#/components/schemas/{own}"
        schema["oneOf"] = [{"$ref": reference} for reference in mapping.values()]
        schema["discriminator"] = {"propertyName": "kind", "mapping": mapping}


def begin_only(operation):
    """Acts answer 202 (or 201) and, asked with `dry_run`, 200 with a plan of another shape. Generated methods carry acts out; the
    layers written by hand have `request` for plans."""
    parameters = operation.get("parameters", [])
    if any(parameter["name"] == "dry_run" for parameter in parameters):
        operation["parameters"] = [parameter for parameter in parameters if parameter["name"] != "dry_run"]
        if any(status in operation["responses"] for status in ("201", "202")):
            operation["responses"].pop("200", None)


#: What the generator cannot do for Python, and does for the others (`enumUnknownDefaultCase`; TypeScript's words are texts).
NEWER_WORDS = """
    @classmethod
    def _missing_(cls, value):
        \"\"\"A word of a newer server: kept as it is.\"\"\"
        if not isinstance(value, str):
            return None
        word = str.__new__(cls, value)
        word._name_, word._value_ = "NEWER", value
        return word
"""


def take_newer_words(models):
    """Lets an older client read what a newer server says."""
    for model in models.glob("*.py"):
        text = model.read_text()
        if "(str, Enum):" in text:
            model.write_text(text.rstrip() + "\n" + NEWER_WORDS)


def generator(folder):
    """The generator's jar, installed once."""
    jar = folder / "openapi_generator_cli" / "openapi-generator.jar"
    stamp, wanted = folder / "installed", (HERE / "generator.txt").read_text()
    if not (stamp.exists() and stamp.read_text() == wanted and jar.exists()):
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--upgrade",
             "--require-hashes", "--target", folder, "-r", HERE / "generator.txt"],
            check=True,
        )
        stamp.write_text(wanted)
    return jar


def main():
    arguments = argparse.ArgumentParser(description="Generates the API clients of the SDKs from the OpenAPI document")
    arguments.add_argument("languages", nargs="*", metavar="LANGUAGE", help=f"of {', '.join(LANGUAGES)}; default: all")
    arguments.add_argument("--document", type=Path, default=HERE.parent / "crates/platform/openapi.json")
    arguments.add_argument("--into", type=Path, default=HERE, help="folder that gets LANGUAGE/generated")
    arguments.add_argument("--cache", type=Path, default=HERE.parent / "target/sdk", help="folder for the generator")
    given = arguments.parse_args()
    for unknown in set(given.languages) - set(LANGUAGES):
        arguments.error(f"there is no SDK for {unknown}")
    jar = generator(given.cache / "generator")
    document = given.cache / "openapi.json"
    document.write_text(json.dumps(simplify(json.loads(given.document.read_text())), ensure_ascii=False, indent=1))
    for language in given.languages or LANGUAGES:
        target = given.into / language / "generated"
        shutil.rmtree(target, ignore_errors=True)
        outcome = subprocess.run(
            ["java", "-Xmx512m", "-jar", jar, "generate", "--input-spec", document, "--output", target,
             "--config", HERE / language / "generator.json", "--global-property",
             "apiTests=false,modelTests=false,apiDocs=false,modelDocs=false"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )
        if outcome.returncode != 0:
            sys.exit(f"{outcome.stdout[-6000:]}\nthe generator failed for {language}")
        if language == "python":
            take_newer_words(target / "konsort_api" / "models")
        print(f"{language}: {sum(1 for file in target.rglob('*') if file.is_file())} files in {target}")


if __name__ == "__main__":
    main()
