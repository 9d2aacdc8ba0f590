//! pk-mounts as a user meets it.

#[path = "../../pk/tests/contract/mod.rs"]
mod contract;

use contract::{Root, Tool};

const TOOL: Tool = Tool {
    name: "pk-mounts",
    program: env!("CARGO_BIN_EXE_pk-mounts"),
    options: &[],
    valued: ["--tmpfs", "DST[:OPTION,...]", "/x"],
    root: Root::Prepared,
    waits: false,
};

mod promises {
    crate::contract::promises!(crate::TOOL);
}
