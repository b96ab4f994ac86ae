#!/usr/bin/env bash
# Holds the gate's outputs against the schemas and readers that they are for; what is needed comes from pip and npm.
#
# Usage: benches/gate/validate.sh [INFERMARK]; leaves everything in target/gate/validate.
set -euo pipefail
cd "$(dirname "$0")/../.."
infermark=$(realpath "${1:-target/release/infermark}")
root=$PWD
work=target/gate/validate
mkdir -p "$work"
cd "$work"

if [ ! -x venv/bin/check-jsonschema ]; then
  python3 -m venv venv
  venv/bin/pip install --quiet check-jsonschema==0.39.0 lxml==6.1.3 junitparser==5.0.3
fi
# The JUnit schema of Jenkins' xUnit plug-in, as pytest's source holds it.
if [ ! -f junit-10.xsd ]; then
  venv/bin/pip download --quiet --no-deps --no-binary :all: -d sdist pytest==9.0.2
  tar -xzf sdist/pytest-9.0.2.tar.gz --strip-components=3 pytest-9.0.2/testing/example_scripts/junit-10.xsd
fi
# GitHub's own writer of workflow commands.
if [ ! -d node_modules/@actions/core ]; then
  npm install --silent --no-fund --no-audit @actions/core@3.0.1
fi

# A program that became slower and one that did not, on a case whose name needs escaping; and one undecided.
cp "$root/benches/gate/spin.py" .
cp "$root/workloads/digits.onnx" "odd, \"name\" & <50%>.onnx"
gate() { "$infermark" gate "odd, \"name\" & <50%>.onnx" --batch 1 --threads 1 "$@"; }
outputs() { echo --junit "$1.xml" --bmf "$1.bmf.json" --action-benchmark "$1" --markdown "$1.md" --json "$1.json" --annotate; }
code=0; gate --baseline "command:python3 spin.py 200" --candidate "command:python3 spin.py 300" $(outputs slower) > slower.txt || code=$?
[ "$code" = 2 ]
gate --baseline "command:python3 spin.py 200" --candidate "command:python3 spin.py 200" $(outputs same) > same.txt
code=0; gate --baseline "command:python3 spin.py 200" --candidate "command:python3 spin.py 200" --budget 1s --strict $(outputs noisy) > noisy.txt || code=$?
[ "$code" = 3 ]
code=0; "$infermark" gate digits --limits 'p99 <= 1 us' 'accuracy >= 0.5' --batch 1 --threads 1 $(outputs limits) > limits.txt || code=$?
[ "$code" = 2 ]

for name in slower same noisy limits; do
  venv/bin/python - "$name.xml" <<'PYTHON'
import sys
from lxml import etree
schema = etree.XMLSchema(etree.parse("junit-10.xsd"))
schema.assertValid(etree.parse(sys.argv[1]))
from junitparser import JUnitXml
suites = list(JUnitXml.fromfile(sys.argv[1]))
cases = [case for suite in suites for case in suite]
print(sys.argv[1], "valid:", len(cases), "cases,", sum(s.failures for s in suites), "failures,", sum(s.skipped for s in suites), "skipped")
PYTHON
  # Bencher's schema of its format (services/console/public/bmf.json of its repository), in our words.
  cat > bmf.schema.json <<'JSON'
{"type": "object", "additionalProperties": {"type": "object", "minProperties": 1, "additionalProperties": {
  "type": "object", "required": ["value"], "additionalProperties": false, "properties": {
    "value": {"type": "number"}, "lower_value": {"type": "number"}, "upper_value": {"type": "number"}}}},
 "propertyNames": {"minLength": 1, "maxLength": 1024}}
JSON
  venv/bin/check-jsonschema --schemafile bmf.schema.json "$name.bmf.json"
  # What the action reads (its src/extract.ts): a list that is not empty, and ranges as text.
  cat > action.schema.json <<'JSON'
{"type": "array", "minItems": 1, "items": {"type": "object", "required": ["name", "unit", "value"], "additionalProperties": false, "properties": {
  "name": {"type": "string"}, "unit": {"type": "string"}, "value": {"type": "number"},
  "range": {"type": "string"}, "extra": {"type": "string"}}}}
JSON
  venv/bin/check-jsonschema --schemafile action.schema.json "$name"/*.json
done

# Annotations, byte for byte as GitHub's toolkit writes them from the parts that they say.
cat > annotations.mjs <<'JS'
import { readFileSync } from "node:fs";
import * as core from "@actions/core";
const unescape = (s, property) => {
  if (property) s = s.replaceAll("%3A", ":").replaceAll("%2C", ",");
  return s.replaceAll("%0D", "\r").replaceAll("%0A", "\n").replaceAll("%25", "%");
};
let lines = 0;
for (const name of ["slower", "noisy", "limits"]) {
  for (const line of readFileSync(`${name}.txt`, "utf8").split("\n").filter((l) => l.startsWith("::"))) {
    const [, level, title, message] = line.match(/^::(\w+) title=(.*?)::(.*)$/);
    let written = "";
    const write = process.stdout.write;
    process.stdout.write = (text) => { written += text; return true; };
    core[level](unescape(message), { title: unescape(title, true) });
    process.stdout.write = write;
    if (written.trimEnd() !== line) throw new Error(`differs:\n${line}\n${written}`);
    lines += 1;
  }
}
if (lines === 0) throw new Error("no annotation was written");
console.log(`annotations: ${lines} lines as GitHub's toolkit writes them`);
JS
node annotations.mjs

venv/bin/check-jsonschema --builtin-schema vendor.github-actions "$root/action.yml"
venv/bin/check-jsonschema --builtin-schema vendor.github-workflows "$root/examples/ci/github.yml"
venv/bin/check-jsonschema --builtin-schema vendor.gitlab-ci --data-transform gitlab-ci "$root/examples/ci/gitlab.yml"
echo "all outputs are as their readers want them"
