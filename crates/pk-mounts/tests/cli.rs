//! pk-mounts as a user meets it: the contract of every tool, then each mount. All of it in mount
//! namespaces made by unshare(1), which is a foreign link of the chain at the same time.

#[path = "cli/binds.rs"]
mod binds;
#[path = "../../pk/tests/contract/mod.rs"]
mod contract;
#[path = "cli/mounts.rs"]
mod mounts;
#[path = "cli/overlays.rs"]
mod overlays;
#[path = "cli/refusals.rs"]
mod refusals;
#[path = "cli/tools.rs"]
mod tools;

use contract::{Root, Stage, Tool, is_root, run, skip};
use std::fs;

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

/// A stage beside whose ROOT there are layers, files to bind, and room for what is written.
fn set_stage() -> Option<Stage<'static>> {
    if !is_root() {
        skip("mounting proc, overlays and devices is tested as root");
        return None;
    }
    let stage = Stage::set(&TOOL)?;
    for directory in ["data/sub", "top", "bottom", "upper", "work"] {
        fs::create_dir_all(stage.directory().join(directory)).unwrap();
    }
    for (file, text) in [
        ("data/file", "bound\n"),
        ("top/both", "top\n"),
        ("bottom/both", "bottom\n"),
        ("bottom/one", "one\n"),
        ("root/own", "root's\n"),
    ] {
        fs::write(stage.directory().join(file), text).unwrap();
    }
    Some(stage)
}

/// What a shell with ROOT as `$0` prints; `before` is what a shell does before pk-mounts.
fn shell(stage: &Stage, before: &str, options: &[&str], script: &str) -> (i32, String, String) {
    let root = stage.root();
    let outcome = run(stage
        .before()
        .args(["sh", "-c", &format!("{before}\nexec \"$@\""), "sh"])
        .args(stage.line(options))
        .args(["sh", "-c", script])
        .arg(&root));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(stage.directory().to_str().unwrap()), "left behind: {mounts}");
    outcome
}
