//! Compiles the default profile for the default capabilities: what `--standard` loads at each start.
//!
//! It is the tool's own compiler, run by Cargo. Any other profile or choice of capabilities is
//! compiled when it is asked for, which takes as long as the whole rest of the tool.

// The tool uses more of its modules than this does.
#![allow(dead_code)]

#[path = "src/abi.rs"]
mod abi;
#[path = "src/capability.rs"]
mod capability;
#[path = "src/condition.rs"]
mod condition;
#[path = "src/filter.rs"]
mod filter;
#[path = "src/profile.rs"]
mod profile;
#[path = "src/program.rs"]
mod program;

use std::env::{self, consts};
use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src");
    // The ABIs are those of the machine that this is compiled for, which is the one that builds.
    let target = env::var("CARGO_CFG_TARGET_ARCH").expect("set by Cargo");
    let text = if target == consts::ARCH { compile() } else { "None".to_owned() };
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("set by Cargo"));
    std::fs::write(out.join("standard.rs"), text).expect("OUT_DIR is writable");
}

/// The instructions as an expression of Rust.
fn compile() -> String {
    // Conditions on the kernel are about kernels that are too old for the other tools.
    let here = profile::Circumstances { capabilities: capability::DEFAULT, kernel: (u32::MAX, 0) };
    let profile = profile::Profile::parse(include_str!("src/default.json"), &here)
        .expect("default.json is a profile");
    assert_eq!(profile.flags, 0, "the default profile asks for no flags");
    let instructions: Vec<String> = filter::compile(&profile)
        .iter()
        .map(|one| {
            let libc::sock_filter { code, jt, jf, k } = one;
            let (high, low) = (k >> 16, k & 0xffff);
            format!("sock_filter {{ code: {code}, jt: {jt}, jf: {jf}, k: 0x{high:04x}_{low:04x} }}")
        })
        .collect();
    format!("Some(&[{}])", instructions.join(",\n"))
}
