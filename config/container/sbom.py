"""Writes a software bill of materials, CycloneDX 1.6, to standard output.

    cargo metadata --format-version 1 --locked | python3 sbom.py [REQUIREMENTS...]

Its components are the crates that the program is linked from (not those that only build or test it) and
the wheels that the REQUIREMENTS pin. The same inputs give the same bytes.
"""

import json
import pathlib
import re
import sys
import tomllib
import uuid

REQUIREMENT = re.compile(r"^([A-Za-z0-9_.-]+)==(\S+)((?:\s+--hash=sha256:[0-9a-f]{64})+)\s*$")


def main():
    metadata = json.load(sys.stdin)
    wheels = [wheel for path in sys.argv[1:] for wheel in read_wheels(path)]
    json.dump(bill(metadata, wheels), sys.stdout, indent=1, sort_keys=True)
    print()


def bill(metadata, wheels):
    packages = {package["id"]: package for package in metadata["packages"]}
    root, dependencies = linked(metadata["resolve"], packages)
    lock = pathlib.Path(metadata["workspace_root"], "Cargo.lock")
    checksums = read_checksums(lock.read_text(encoding="utf-8"))
    crates = {crate: component(packages[crate], checksums) for crate in dependencies}
    program = crates.pop(root) | {"type": "application"}
    edges = [
        {
            "ref": purl(packages[crate]),
            "dependsOn": sorted(purl(packages[needed]) for needed in needs),
        }
        for crate, needs in dependencies.items()
    ]
    for edge in edges:
        if edge["ref"] == program["bom-ref"]:
            edge["dependsOn"] += sorted(wheel["bom-ref"] for wheel in wheels)
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": program},
        "components": sorted([*crates.values(), *wheels], key=lambda it: it["bom-ref"]),
        "dependencies": sorted(edges, key=lambda it: it["ref"]),
    }
    identity = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(document, sort_keys=True))
    return document | {"serialNumber": f"urn:uuid:{identity}"}


def linked(resolve, packages):
    """The root, and for each crate that is linked into it, itself too, the crates that it needs."""
    nodes = {node["id"]: node for node in resolve["nodes"]}
    root = next(
        package for package in packages if packages[package]["name"] == "despina"
    )
    found, open_ends = {}, [root]
    while open_ends:
        crate = open_ends.pop()
        if crate in found:
            continue
        found[crate] = [
            dependency["pkg"]
            for dependency in nodes[crate]["deps"]
            if any(kind["kind"] is None for kind in dependency["dep_kinds"])
            and not is_macro(packages[dependency["pkg"]])
        ]
        open_ends += found[crate]
    return root, found


def is_macro(package):
    """Whether it runs in the compiler only."""
    return any("proc-macro" in target["kind"] for target in package["targets"])


def component(package, checksums):
    found = {
        "type": "library",
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "purl": purl(package),
    }
    if package["license"]:
        # Older crates write a slash for "or".
        expression = " OR ".join(part.strip() for part in package["license"].split("/"))
        found["licenses"] = [{"expression": expression}]
    checksum = checksums.get((package["name"], package["version"]))
    if checksum:
        found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return found


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def read_checksums(lock):
    return {
        (package["name"], package["version"]): package.get("checksum")
        for package in tomllib.loads(lock)["package"]
    }


def read_wheels(path):
    """One component for each line `NAME==VERSION --hash=sha256:...`; a wheel for each architecture."""
    text = pathlib.Path(path).read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        match = REQUIREMENT.match(line)
        if not match:
            sys.exit(f"{path}: not NAME==VERSION with hashes: {line}")
        name, version, hashes = match.groups()
        reference = f"pkg:pypi/{name}@{version}"
        yield {
            "type": "library",
            "bom-ref": reference,
            "name": name,
            "version": version,
            "purl": reference,
            "hashes": [
                {"alg": "SHA-256", "content": digest.removeprefix("--hash=sha256:")}
                for digest in hashes.split()
            ],
        }


if __name__ == "__main__":
    main()
