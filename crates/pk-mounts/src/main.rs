//! pk-mounts [MOUNT...] ROOT PROG [ARG...]: put file systems into ROOT, then become PROG.
//!
//! ROOT itself becomes a mount first, then what a container expects is mounted in it, then what
//! was asked for, shortest path first, then what is to be hidden, and last what is to be read-only.
#![cfg_attr(not(test), no_main)]

mod bind;
mod cgroup;
mod dev;
mod filesystem;
mod host;
mod idmap;
mod mask;
mod mountinfo;
mod overlay;
mod root;
mod source;
mod standard;
mod sys;
mod tools;
mod travel;

use argh::{ArgsInfo, FromArgs};
use bind::{Bind, Tmpfs};
use filesystem::Filesystem;
use pk::{Error, Prog, Result, Steps};
use root::Root;
use std::ffi::OsString;
use tools::Tools;

const TOOL: pk::Tool = pk::Tool {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    operands: "ROOT PROG [ARG...]",
    kind: pk::Kind::Chain,
    words: &[],
    notes: "\
The mounts are made in the mount namespace of the process, which must not be the host's: put
pk-ns --mount in front. They vanish with it.",
    examples: &[
        (
            "pk-ns --mount --pid pk-mounts --standard rootfs pk-chroot-exec rootfs sh",
            "what a container finds mounted",
        ),
        (
            "pk-ns --mount pk-mounts --overlay layer2:layer1 --upper up --work work rootfs ls rootfs",
            "layers as one tree, and what changes in it in a directory of its own",
        ),
        (
            "pk-ns --mount pk-mounts --bind $PWD:/src:ro --tmp rootfs pk-chroot-exec rootfs ls /src",
            "a directory of the host, read-only",
        ),
    ],
    see_also: "mount(8), mount(2), mount_namespaces(7), pk-ns(1), pk-chroot-exec(1)",
};
pk::main!(TOOL, steps);

/// Put proc, sys, dev, tmp, binds and overlays into ROOT, then become PROG.
#[derive(FromArgs, ArgsInfo)]
struct Options {
    /// proc, sys and dev as runc mounts them, its masked and its read-only paths
    #[argh(switch)]
    standard: bool,
    /// a proc file system, of the process's PID namespace
    #[argh(switch)]
    proc: bool,
    /// a read-only sysfs, of the process's network namespace
    #[argh(switch)]
    sys: bool,
    /// a tmpfs with null, zero, full, random, urandom, tty, fd, stdin, stdout, stderr, ptmx, pts,
    /// shm and mqueue
    #[argh(switch)]
    dev: bool,
    /// a tmpfs on /tmp, mode 1777
    #[argh(switch)]
    tmp: bool,
    /// a tmpfs on /run, mode 755
    #[argh(switch)]
    run: bool,
    /// the cgroup hierarchies of the process's cgroup namespace on /sys/fs/cgroup, read-only
    #[argh(switch)]
    cgroup: bool,
    /// the directory of these tools on /run/pk, where nothing can write to it: what runs inside
    /// ROOT, as in pk-chroot-exec ROOT /run/pk/pk-init sh (docker: --init)
    #[argh(switch)]
    tools: bool,
    /// SRC, with what is mounted in it, on DST; OPTION: ro, nosuid, nodev, noexec, norec,
    /// idmap=INNER:OUTER:COUNT, or how mounts travel: private, slave, shared, or with an r in
    /// front also those below (repeatable; docker: --volume)
    #[argh(option, arg_name = "SRC:DST[:OPTION,...]")]
    bind: Vec<Bind>,
    /// a tmpfs on DST; OPTION: size=64M, mode=700, ro, noexec, … (repeatable; docker: --tmpfs)
    #[argh(option, arg_name = "DST[:OPTION,...]")]
    tmpfs: Vec<Tmpfs>,
    /// an overlay of these directories on ROOT, the topmost first
    #[argh(option, arg_name = "LOWER[:LOWER...]")]
    overlay: Option<String>,
    /// the directory that takes the overlay's changes; without it the overlay is read-only
    #[argh(option, arg_name = "DIR")]
    upper: Option<String>,
    /// an empty directory on the file system of --upper, which the overlay needs
    #[argh(option, arg_name = "DIR")]
    work: Option<String>,
    /// make ROOT's own mount read-only, not what is mounted in it (docker: --read-only)
    #[argh(switch)]
    read_only: bool,
    /// hide a file behind /dev/null, a directory behind an empty tmpfs (repeatable)
    #[argh(option, arg_name = "PATH")]
    mask: Vec<String>,
}

fn steps(options: Options, mut operands: Vec<OsString>) -> Result<Steps<Root>> {
    if operands.is_empty() {
        return Err(
            Error::usage("ROOT", "missing operand").hint("--help shows the operands".to_owned())
        );
    }
    let root = Root::open(operands.remove(0))?;
    let prog = Prog::find(operands)?;
    let overlay = overlay::settle(options.overlay, options.upper, options.work)?;
    for bind in &options.bind {
        bind.check_source()?;
    }
    let tools = options.tools.then(Tools::find).transpose()?;

    let shown = root.shown();
    let is_mount = root.is_mount()?;
    let and_enter = root.and_enter()?;
    let mut steps = Steps::new(root);
    steps.check(|root| root.check_private());
    for bind in &options.bind {
        bind.add_check(&mut steps);
    }
    match overlay {
        Some(overlay) => overlay.add_mount(&shown, and_enter, &mut steps),
        None if is_mount => {}
        None => root::add_self_bind(&shown, and_enter, &mut steps),
    }
    let standard = options.standard;
    if standard {
        root::add_no_devices(&shown, &mut steps);
    }
    if standard || options.proc {
        standard::add_proc(&shown, &mut steps);
    }
    if standard || options.sys {
        standard::add_sys(&shown, &mut steps);
    }
    if options.cgroup {
        cgroup::add_mounts(&shown, &mut steps)?;
    }
    if standard || options.dev {
        dev::add_mounts(&shown, &mut steps);
    }
    if options.run {
        Filesystem::tmpfs("mode=755").add_mount(
            "/run",
            "what is written at run time",
            &shown,
            &mut steps,
        );
    }
    if options.tmp {
        Filesystem::tmpfs("mode=1777").add_mount(
            "/tmp",
            "scratch space of its own",
            &shown,
            &mut steps,
        );
    }
    bind::add_mounts(options.bind, options.tmpfs, &shown, &mut steps);
    // A /run that was asked for would cover them.
    if let Some(tools) = tools {
        tools.add_mount(&shown, &mut steps);
    }
    if standard {
        mask::add_standard(&shown, &mut steps);
    }
    if !options.mask.is_empty() {
        mask::add_masks(options.mask, root::Links::InRoot, &shown, &mut steps);
    }
    if options.read_only {
        root::add_read_only(&shown, &mut steps);
    }
    if standard || options.proc || options.sys || options.dev || options.cgroup {
        root::add_verification(&shown, &mut steps);
    }
    steps.exec(prog);
    Ok(steps)
}
