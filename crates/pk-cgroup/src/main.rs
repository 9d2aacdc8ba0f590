//! pk-cgroup [LIMIT...] PROG [ARG...]: enters a control group with limits, then becomes PROG.
//! pk-cgroup --join PID PROG [ARG...]: the same in the groups of a running process.
//! pk-cgroup --name NAME --stat|--kill|--freeze|--thaw|--remove: does it to a named group.
//!
//! Without a name the group is PROG's alone: this process stays outside as PROG's parent, kills
//! what PROG leaves behind and removes the group. With one the group is kept.
#![cfg_attr(not(test), no_main)]

mod delegation;
mod device;
mod directory;
mod enter;
mod group;
mod hierarchy;
mod join;
mod limits;
mod manage;
mod name;
mod placement;
mod quantity;
mod stat;

use argh::{ArgsInfo, FromArgs};
use enter::enter;
use group::Group;
use join::join;
use limits::Limits;
use manage::{Verb, manage};
use name::{GroupPath, Name};
use pk::{Error, Prog, Result, Steps};
use placement::Place;
use std::ffi::OsString;

const TOOL: pk::Tool = pk::Tool {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    operands: "PROG [ARG...]\n--join PID PROG [ARG...]\n--name NAME --stat|--kill|--freeze|--thaw|--remove",
    kind: pk::Kind::Chain,
    words: &[],
    notes: "\
SIZE is a number with b, k, m, g or t, powers of 1024. SIZE, NUMBER and COUNT may be max.",
    examples: &[
        ("pk-cgroup --memory 64M --pids 32 sh", "a group of its own, gone when the shell is"),
        ("pk-cgroup --name box --cpus 0.5 make", "a group that is kept"),
        ("pk-cgroup --name box --stat", "what the named group uses, as JSON"),
        ("pk-cgroup --name box --kill", "end everything in it"),
        (
            "pk-cgroup --join 4242 pk-ns --join 4242 --all sh",
            "what docker exec does: the limits, too",
        ),
    ],
    see_also: "systemd-run(1), cgroups(7), pk-ns(1)",
};

/// Enter a control group with limits, then become PROG. Without a name the group is removed when
/// PROG has ended, and what is left in it killed.
#[derive(FromArgs, ArgsInfo)]
struct Options {
    /// memory; above it PROG is killed   (docker: --memory)
    #[argh(option, arg_name = "SIZE")]
    memory: Option<quantity::Size>,

    /// memory and swap together; twice the memory if not said   (docker: --memory-swap)
    #[argh(option, arg_name = "SIZE")]
    memory_swap: Option<quantity::Size>,

    /// processors' worth of time, such as 1.5   (docker: --cpus)
    #[argh(option, arg_name = "NUMBER")]
    cpus: Option<quantity::Cpus>,

    /// share of contended processors, 1 to 10000, usually 100   (docker: --cpu-shares)
    #[argh(option, arg_name = "WEIGHT")]
    cpu_weight: Option<quantity::Weight>,

    /// processors that may be used, such as 0-2,4   (docker: --cpuset-cpus)
    #[argh(option, arg_name = "LIST")]
    cpuset: Option<quantity::CpuList>,

    /// tasks, threads included   (docker: --pids-limit)
    #[argh(option, arg_name = "COUNT")]
    pids: Option<quantity::Count>,

    /// DEVICE:rbps=SIZE,wbps=SIZE,riops=COUNT,wiops=COUNT, each a second; may be repeated
    /// (docker: --device-read-bps and the like)
    #[argh(option, arg_name = "LIMITS")]
    io_max: Vec<device::IoMax>,

    /// make or join the group of this name, and keep it
    #[argh(option, arg_name = "NAME")]
    name: Option<Name>,

    /// the group above, as a path from the top   (docker: --cgroup-parent)
    #[argh(option, arg_name = "PATH")]
    parent: Option<GroupPath>,

    /// enter the groups of process PID instead of making one   (docker: exec)
    #[argh(option, arg_name = "PID")]
    join: Option<i32>,

    /// print usage and limits of the named group as JSON   (docker stats)
    #[argh(switch)]
    stat: bool,

    /// kill everything in the named group   (docker kill)
    #[argh(switch)]
    kill: bool,

    /// stop everything in the named group   (docker pause)
    #[argh(switch)]
    freeze: bool,

    /// let it go on   (docker unpause)
    #[argh(switch)]
    thaw: bool,

    /// remove the named group, which must be empty   (docker rm)
    #[argh(switch)]
    remove: bool,
}

/// What the steps share.
#[derive(Default)]
struct State {
    group: Group,
    contents: stat::Contents,
}

pk::main!(TOOL, steps);

fn steps(options: Options, operands: Vec<OsString>) -> Result<Steps<State>> {
    let Options { stat, kill, freeze, thaw, remove, .. } = options;
    let verb = Verb::choose([stat, kill, freeze, thaw, remove])?;
    let limits = Limits {
        memory: options.memory,
        memory_swap: options.memory_swap,
        cpus: options.cpus,
        cpu_weight: options.cpu_weight,
        cpuset: options.cpuset,
        pids: options.pids,
        io_max: options.io_max,
    };
    limits.check()?;
    if let Some(pid) = options.join {
        let limit = limits.needs().first().map(|&(_, limit)| limit);
        let place = options.name.map(|_| "--name").or(options.parent.map(|_| "--parent"));
        if let Some(other) = place.or(verb.map(Verb::option)).or(limit) {
            return Err(Error::usage(other, "--join takes the groups as they are"));
        }
        return join(pid, Prog::find(operands)?);
    }
    let Some(verb) = verb else {
        let prog = Prog::find(operands)?;
        let name = options.name.map_or_else(Name::anonymous, Ok)?;
        return enter(&Place { name, parent: options.parent }, &limits, prog);
    };
    let option = verb.option();
    if let Some(operand) = operands.first() {
        return Err(Error::usage(operand.display(), format_args!("{option} takes no PROG")));
    }
    if let Some(&(_, limit)) = limits.needs().first() {
        return Err(Error::usage(limit, format_args!("{option} sets no limit")));
    }
    let name = options.name.ok_or_else(|| Error::usage(option, "needs --name NAME"))?;
    manage(verb, &Place { name, parent: options.parent })
}
