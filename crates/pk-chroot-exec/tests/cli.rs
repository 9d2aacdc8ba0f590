//! pk-chroot-exec as a user meets it.

#[path = "../../pk/tests/contract/mod.rs"]
mod contract;

use contract::{Root, Tool};

const TOOL: Tool = Tool {
    name: "pk-chroot-exec",
    program: env!("CARGO_BIN_EXE_pk-chroot-exec"),
    options: &[],
    valued: ["--workdir", "DIR", "/"],
    root: Root::Entered,
    waits: false,
};

mod promises {
    crate::contract::promises!(crate::TOOL);
}
