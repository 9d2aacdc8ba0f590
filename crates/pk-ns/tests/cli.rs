//! pk-ns as a user meets it: the contract of every tool, then namespaces one by one.

#[path = "../../pk/tests/contract/mod.rs"]
mod contract;

use contract::{Root, Tool};

const TOOL: Tool = Tool {
    name: "pk-ns",
    program: env!("CARGO_BIN_EXE_pk-ns"),
    options: &["--uts"],
    valued: ["--hostname", "NAME", "box"],
    root: Root::None,
    waits: false,
};

mod becomes_prog {
    crate::contract::promises!(crate::TOOL);
}

/// A time namespace takes in only children, as a PID namespace does, but makes no init of them,
/// so that they can die of a signal of their own.
mod waits_for_prog {
    use crate::contract::{Tool, promises};
    const TOOL: Tool = Tool { options: &["--uts", "--time"], waits: true, ..crate::TOOL };
    promises!(TOOL);
}
