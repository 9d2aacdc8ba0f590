use super::*;
use Version::{V1, V2};

type Expected<'a> = (Version, &'a [&'a str], &'a str, Option<&'a str>);

fn check(what: &str, mountinfo: &str, membership: &str, expected: &[Expected]) {
    let expected: Vec<Hierarchy> = expected
        .iter()
        .map(|&(version, controllers, point, own)| Hierarchy {
            version,
            controllers: controllers.iter().map(|&name| name.to_owned()).collect(),
            point: point.into(),
            own: own.map(PathBuf::from),
        })
        .collect();
    assert_eq!(parse(mountinfo.as_bytes(), membership.as_bytes()), expected, "{what}");
}

const ROOT: &str = "23 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n";

#[test]
fn machines_of_each_kind() {
    let v2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    check(
        "v2 only",
        &format!("{ROOT}{v2}"),
        "0::/user.slice/session-1.scope\n",
        &[(V2, &[], "/sys/fs/cgroup", Some("/sys/fs/cgroup/user.slice/session-1.scope"))],
    );
    check(
        "v1, two controllers in one hierarchy, systemd's own",
        "31 23 0:28 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n\
         33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
         35 31 0:32 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n\
         40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n",
        "4:memory:/a\n3:cpu,cpuacct:/\n2:net_cls:/\n1:name=systemd:/a/b\n",
        &[
            (V1, &["memory"], "/sys/fs/cgroup/memory", Some("/sys/fs/cgroup/memory/a")),
            (
                V1,
                &["cpu", "cpuacct"],
                "/sys/fs/cgroup/cpu,cpuacct",
                Some("/sys/fs/cgroup/cpu,cpuacct"),
            ),
            (V1, &[], "/sys/fs/cgroup/systemd", Some("/sys/fs/cgroup/systemd/a/b")),
        ],
    );
    check(
        "hybrid",
        "36 31 0:33 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n\
         41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
        "8:pids:/x\n0::/\n",
        &[
            (V1, &["pids"], "/sys/fs/cgroup/pids", Some("/sys/fs/cgroup/pids/x")),
            (V2, &[], "/sys/fs/cgroup/unified", Some("/sys/fs/cgroup/unified")),
        ],
    );
    check("no cgroups", ROOT, "", &[]);
    check("a line cut short", "36 31 0:33 / /sys/fs/cgroup/pids rw,relat", "8:pids:/\n", &[]);
}

#[test]
fn the_root_of_a_mount_is_taken_off_the_path() {
    let mount = |root| format!("41 31 0:38 {root} /cg rw - cgroup2 cgroup2 rw\n");
    let table: &[(&str, &str, &str, Option<&str>)] = &[
        ("container, host's namespace", "/docker/1f", "/docker/1f", Some("/cg")),
        ("a group inside of it", "/docker/1f", "/docker/1f/a", Some("/cg/a")),
        ("another container's", "/docker/1f", "/docker/1fa", None),
        ("container, own namespace", "/", "/", Some("/cg")),
        ("namespace without a new mount", "/../..", "/", None),
        ("above the namespace", "/..", "/../a", Some("/cg/a")),
        ("a colon in the name", "/", "/a:b", Some("/cg/a:b")),
    ];
    for &(what, root, group, own) in table {
        let membership = format!("0::{group}\n");
        check(what, &mount(root), &membership, &[(V2, &[], "/cg", own)]);
    }
}

#[test]
fn the_best_of_several_mounts_is_taken() {
    let part = "50 23 0:38 /a /part rw - cgroup2 cgroup2 rw\n";
    let read_only = "51 23 0:38 / /ro ro - cgroup2 cgroup2 rw\n";
    let whole = "52 23 0:38 / /whole rw - cgroup2 cgroup2 rw\n";
    let table: &[(&[&str], &str, &str)] = &[
        (&[part, read_only, whole], "/whole", "/whole/a"),
        (&[part, read_only], "/part", "/part"),
        (&[read_only], "/ro", "/ro/a"),
    ];
    for &(mounts, point, own) in table {
        check(point, &mounts.concat(), "0::/a\n", &[(V2, &[], point, Some(own))]);
    }
}

#[test]
fn a_mount_under_another_one_is_not_seen() {
    let below = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
    let seen = format!("{ROOT}{below}");
    let point = "/sys/fs/cgroup/unified";
    check("plain", &seen, "0::/\n", &[(V2, &[], point, Some(point))]);
    let cover = "60 31 0:50 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n";
    check("covered", &format!("{seen}{cover}"), "0::/\n", &[]);
    let cover = "60 41 0:50 / /sys/fs/cgroup/unified rw - tmpfs tmpfs rw\n";
    check("covered at its point", &format!("{seen}{cover}"), "0::/\n", &[]);
    // After switch_root the root's line may stand behind those of what is mounted in it.
    let late = format!("{below}{ROOT}");
    check("the root listed last", &late, "0::/\n", &[(V2, &[], point, Some(point))]);
}

#[test]
fn octal_escapes_are_undone() {
    let table: &[(&[u8], &[u8])] = &[
        (br"/a\040b", b"/a b"),
        (br"/a\134040", br"/a\040"),
        (br"/\011\012", b"/\t\n"),
        (br"/a\04", br"/a\04"),
        (br"/a\x40", br"/a\x40"),
        (b"/caf\xe9", b"/caf\xe9"),
    ];
    for &(field, expected) in table {
        assert_eq!(path(field).as_os_str().as_bytes(), expected);
    }
}
