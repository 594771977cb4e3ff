# The commands of CONTRIBUTING.md by short names. `just` alone lists them.

_list:
    @just --list --unsorted

# Start a broker on the embedded bus, in a debug build
run *ARGS:
    cargo run -- {{ARGS}}

# Run every test, or those whose names contain a text
test *ARGS:
    scripts/test {{ARGS}}

# Run the checks and tests of the client for JavaScript
test-client:
    scripts/test-client

# Build the packages of a release
package *ARGS:
    scripts/package {{ARGS}}

# Install a Debian package, try it and purge it
test-package *ARGS:
    scripts/test-package {{ARGS}}

# Render the manifests for Kubernetes, and validate them
test-kubernetes:
    scripts/test-kubernetes

# Compare docs/openapi.json with the responses of a broker
test-openapi:
    scripts/test-openapi

# Build the example, and run its tests
test-example:
    scripts/test-example

# Run the integration tests with the writer of the HTTP server
test-body *ARGS:
    WRITER=body cargo test --test suite {{ARGS}}

# Count allocations and writes, measure the memory of an idle stream
budgets *ARGS:
    cargo test --test budgets {{ARGS}}

# Open 18,000 connections and print measurements
scale *ARGS:
    cargo test --test scale {{ARGS}}

# Run the loss ledger
ledger *ARGS:
    cargo test --test ledger {{ARGS}}

# Run random scenarios of the loss ledger for some minutes
soak MINUTES *JOBS:
    scripts/soak {{MINUTES}} {{JOBS}}

# Run nodes of an older revision and of this one over one Redis
mixed-versions *REVISION:
    scripts/mixed-versions {{REVISION}}

# Measure the steps of an event
bench *ARGS:
    cargo bench -- {{ARGS}}

# Compare with other servers under the load of `tidings bench`
compare *ARGS:
    scripts/compare {{ARGS}}

# Check words, sentences and lines of pages and comments
prose *FILES:
    scripts/check-prose {{FILES}}

# Check shell scripts and spelling
lint *FILES:
    scripts/lint {{FILES}}

# Check licences, sources, versions and advisories of dependencies
deny:
    scripts/deny

# Run all checks of a change
ci:
    .ci/run
