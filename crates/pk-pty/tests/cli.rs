//! pk-pty as a user meets it: the contract of every tool, then both terminals.

#[path = "../../pk/tests/contract/mod.rs"]
mod contract;

use contract::{Root, Tool};

const TOOL: Tool = Tool {
    name: "pk-pty",
    program: env!("CARGO_BIN_EXE_pk-pty"),
    options: &[],
    valued: ["", "", ""],
    root: Root::None,
    waits: true,
};

mod promises {
    crate::contract::promises!(crate::TOOL);
}
