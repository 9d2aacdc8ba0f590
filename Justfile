# List the recipes
default:
    @just --list

# Say what this machine can do, and how to mend what it cannot
doctor *ARGS:
    @scripts/doctor {{ARGS}}

# Build the tools
build:
    cargo build --release

# Unpack an image and run it layer by layer
demo *IMAGE:
    scripts/demo {{IMAGE}}

# Build a container yourself, one layer at a time; `just workshop check --all` tries all of it
workshop *VERB:
    scripts/workshop {{VERB}}

# Run every test, installing what they need
test:
    scripts/test

# Open a shell in a virtual machine on cgroup v2 alone
vm:
    scripts/vm-test --shell

# Run the lints
lint:
    scripts/lint

# Look for bytes that pk-unpack cannot take
fuzz *SECONDS:
    scripts/fuzz {{SECONDS}}

# Time start-up and unpacking beside others: start, unpack or both
bench *ARGS:
    scripts/bench {{ARGS}}

# Make an image without a network
make-image *ARGS:
    scripts/make-image {{ARGS}}

# Install tools, manual pages and completions: PREFIX=DIR, DESTDIR=DIR
install *ARGS:
    scripts/install {{ARGS}}

# Remove what install has put there
uninstall *ARGS:
    scripts/install --uninstall {{ARGS}}

# Make a tarball of static tools, scripts and README
dist:
    scripts/dist
