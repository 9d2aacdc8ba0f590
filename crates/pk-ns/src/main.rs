//! pk-ns [NAMESPACE...] PROG [ARG...]: create or join namespaces, then become PROG.
//!
//! The order is the kernel's: user first, because it gives the right to the others; its id maps,
//! because until they are written nothing has an owner; then what goes into each namespace; and
//! last the fork, because a PID namespace takes in only children.
#![cfg_attr(not(test), no_main)]

mod credentials;
mod helper;
mod idmap;
mod join;
mod link;
mod namespaces;
mod refusals;
mod subordinate;
mod target;

use argh::{ArgsInfo, FromArgs};
use idmap::IdMaps;
use namespaces::{Namespaces, Offsets, Propagation};
use nix::mount::{MsFlags, mount};
use pk::{Error, IdRange, Prog, Result, Steps};
use std::ffi::OsString;

const TOOL: pk::Tool = pk::Tool {
    name: env!("CARGO_PKG_NAME"),
    version: env!("CARGO_PKG_VERSION"),
    operands: "PROG [ARG...]",
    kind: pk::Kind::Chain,
    words: &[],
    notes: "\
With --pid or --time the tool forks: PROG runs in the new namespace (and is its PID 1), and pk-ns
stays as its parent, forwards signals and ends with PROG's status, 128+n for a death by signal n.",
    examples: &[
        (
            "pk-ns --mount --pid --uts --hostname box sh",
            "a shell as PID 1, with a host name of its own",
        ),
        ("pk-ns --all --map-auto sh", "as an ordinary user: root, with every namespace there is"),
        ("pk-ns --net ip link", "a foreign PROG, and a network of lo alone"),
        (
            "pk-ns --join 4242 --all --credentials --environment --directory sh",
            "look around in what process 4242 sees",
        ),
        ("pk-ns --join 4242 --all pk-chroot-exec --user app / sh", "what docker exec --user does"),
    ],
    see_also: "unshare(1), nsenter(1), unshare(2), setns(2), namespaces(7), user_namespaces(7), pid_namespaces(7)",
};
pk::main!(TOOL, steps);

/// Create or join namespaces, then become PROG.
#[derive(FromArgs, ArgsInfo)]
struct Options {
    /// a mount namespace: mounts made here are seen only here
    #[argh(switch)]
    mount: bool,
    /// a PID namespace, whose PID 1 is PROG
    #[argh(switch)]
    pid: bool,
    /// a UTS namespace: a host name of its own
    #[argh(switch)]
    uts: bool,
    /// an IPC namespace: System V IPC and POSIX message queues
    #[argh(switch)]
    ipc: bool,
    /// a network namespace, with lo brought up
    #[argh(switch)]
    net: bool,
    /// a user namespace; without a map every id is 65534 in it
    #[argh(switch)]
    user: bool,
    /// a cgroup namespace: the cgroup entered so far becomes the root that is seen
    #[argh(switch)]
    cgroup: bool,
    /// a time namespace: offsets to the monotonic and boot-time clocks
    #[argh(switch)]
    time: bool,
    /// all eight, with --map-root if no map is given; with --join those that differ from ours
    #[argh(switch)]
    all: bool,
    /// the host name in the new UTS namespace (docker: --hostname)
    #[argh(option, arg_name = "NAME")]
    hostname: Option<String>,
    /// map the caller's ids to 0
    #[argh(switch)]
    map_root: bool,
    /// map the caller's ids to 0, and its subordinate ids (/etc/subuid, /etc/subgid) from 1 on
    #[argh(switch)]
    map_auto: bool,
    /// map COUNT user ids from INNER on, inside, to those from OUTER on (repeatable)
    #[argh(option, arg_name = "INNER:OUTER:COUNT")]
    uid_map: Vec<IdRange>,
    /// the same for group ids (repeatable)
    #[argh(option, arg_name = "INNER:OUTER:COUNT")]
    gid_map: Vec<IdRange>,
    /// how mounts travel to and from the namespace that was left; private unless said otherwise
    #[argh(option, arg_name = "private|slave|shared|unchanged")]
    propagation: Option<Propagation>,
    /// seconds added to the monotonic clock in the new time namespace
    #[argh(option, arg_name = "SECONDS")]
    monotonic: Option<i64>,
    /// seconds added to the boot-time clock (uptime) in the new time namespace
    #[argh(option, arg_name = "SECONDS")]
    boottime: Option<i64>,
    /// enter the named namespaces of process PID instead of creating them (docker: exec)
    #[argh(option, arg_name = "PID")]
    join: Option<i32>,
    /// with --join: the user, groups, bounding set and no-new-privileges of that process
    #[argh(switch)]
    credentials: bool,
    /// with --join: the environment of that process instead of the caller's
    #[argh(switch)]
    environment: bool,
    /// with --join: the working directory of that process
    #[argh(switch)]
    directory: bool,
}

fn steps(options: Options, operands: Vec<OsString>) -> Result<Steps<Option<helper::Helper>>> {
    let chosen = Namespaces::chosen(&options);
    if chosen.is_empty() {
        return Err(Error::usage("--mount, --pid, …", "no namespace is named")
            .hint("--help lists them; --all is all of them".to_owned()));
    }
    if let Some(pid) = options.join {
        options.check_join()?;
        return join::steps(pid, chosen, &options, operands);
    }
    options.check_create(chosen)?;
    let maps = IdMaps::settle(&options, chosen)?;
    let offsets = Offsets { monotonic: options.monotonic, boottime: options.boottime };
    let prog = Prog::find(operands)?;

    let mut steps = Steps::new(None);
    maps.add_owning(&mut steps)?;
    maps.add_helper(&mut steps);
    let (ours, childrens) = chosen.apart();
    ours.add_unshare("", &mut steps);
    maps.add_writes(&mut steps);
    if chosen.has("mount") {
        let propagation = options.propagation.unwrap_or_default();
        if let Some((flag, name)) = propagation.flag() {
            steps.add(
                propagation.why(),
                format!("mount(NULL, \"/\", NULL, MS_REC|{name}, NULL)"),
                format!("mount --make-r{propagation} /"),
                move |_| {
                    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | flag, None::<&str>)
                },
            );
        }
    }
    if let Some(name) = options.hostname {
        steps.add(
            "the copy of the host's name that came with the namespace is replaced",
            format!("sethostname({name:?})"),
            format!("hostname {}", pk::quote(&name)),
            move |_| nix::unistd::sethostname(&name),
        );
    }
    if chosen.has("net") {
        steps.add(
            "a new network namespace has only lo, and lo is down",
            "ioctl(SIOCSIFFLAGS, {\"lo\", IFF_UP})",
            "ip link set lo up",
            |_| link::up("lo"),
        );
    }
    childrens.add_unshare(&offsets.options(), &mut steps);
    offsets.add_write(&mut steps);
    if !childrens.is_empty() {
        // Only a PID namespace makes an init of the child.
        let init = chosen.has("pid");
        steps.fork(namespaces::WHY_FORK, "sh; exit", init, |_| Ok(()));
    }
    maps.add_end(&mut steps);
    steps.exec(prog);
    Ok(steps)
}
