//! Trees made at random, packed by GNU tar in each of its formats: pk-unpack makes of them what
//! `tar -x` makes.

use crate::images::oci;
use crate::{Place, is_root};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngSeed};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, UTIME_OMIT, XattrFlags, lgetxattr,
    llistxattr, lsetxattr, makedev, mknodat, utimensat,
};
use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What there is to know of a file, in words.
pub type Facts = BTreeMap<PathBuf, String>;

/// The same cases in every run; `PROPTEST_CASES` asks for so many others.
pub fn config(cases: u32) -> Config {
    let asked = env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let rng_seed = asked.map_or(RngSeed::Fixed(0), |_| RngSeed::Random);
    let cases = asked.unwrap_or(cases);
    let max_global_rejects = 4 * cases;
    // What was found is kept as a test with a name.
    let failure_persistence = None;
    Config { cases, rng_seed, max_global_rejects, failure_persistence, ..Config::default() }
}

/// The facts of a tree, without the times of directories.
pub fn facts(top: &Path) -> Facts {
    let (mut facts, mut inodes) = (Facts::new(), BTreeMap::new());
    let mut left = vec![PathBuf::new()];
    while let Some(path) = left.pop() {
        let full = top.join(&path);
        let stat = fs::symlink_metadata(&full).unwrap();
        let mut names = Vec::new();
        for name in if stat.is_dir() { Some(fs::read_dir(&full).unwrap()) } else { None }
            .into_iter()
            .flatten()
        {
            names.push(path.join(name.unwrap().file_name()));
        }
        let contents = match stat.file_type() {
            kind if kind.is_symlink() => fs::read_link(&full).unwrap().into_os_string().into_vec(),
            kind if kind.is_file() => fs::read(&full).unwrap(),
            _ => Vec::new(),
        };
        let time = (!stat.is_dir()).then(|| (stat.mtime(), stat.mtime_nsec()));
        let first = inodes.entry(stat.ino()).or_insert_with(|| path.clone()).clone();
        let links = if stat.is_dir() { 0 } else { stat.nlink() };
        let words = format!(
            "{:o} {}:{} {:?} {:x} {} {time:?} {:?} as {first:?} {links}",
            stat.mode(),
            stat.uid(),
            stat.gid(),
            xattrs(&full),
            stat.rdev(),
            stat.blocks(),
            OsStr::from_bytes(&contents),
        );
        facts.insert(path, words);
        names.sort();
        left.extend(names);
    }
    facts
}

fn xattrs(path: &Path) -> Vec<(OsString, Vec<u8>)> {
    let mut names = vec![0; 1 << 16];
    let length = llistxattr(path, &mut names).unwrap();
    let names = names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty());
    let mut xattrs: Vec<_> = names
        .map(|name| {
            let (name, mut value) = (OsStr::from_bytes(name), vec![0; 1 << 16]);
            let length = lgetxattr(path, name, &mut value).unwrap();
            (name.to_owned(), value[..length].to_vec())
        })
        .collect();
    xattrs.sort();
    xattrs
}

/// A file to be made: in one of the directories made before, if there are any.
#[derive(Clone, Debug)]
struct Node {
    above: Index,
    name: Vec<u8>,
    kind: Kind,
    mode: u32,
    owner: (u32, u32),
    time: (i64, i64),
    xattrs: Vec<(&'static str, Vec<u8>)>,
}

#[derive(Clone, Debug)]
enum Kind {
    Directory,
    /// Pieces with holes before them, and a hole at the end.
    File(Vec<(u64, Vec<u8>)>, u64),
    /// Of one of the files made before.
    HardLink(Index),
    Symlink(Vec<u8>),
    Node(FileType, u32, u32),
}

fn node() -> impl Strategy<Value = Node> {
    let byte = prop_oneof![20 => b'a'..=b'e', 1 => select(b" \n\\\"\x80\xff\x01=-.".to_vec())];
    let length = prop_oneof![20 => 1..6_usize, 2 => 90..110_usize, 1 => 140..=255_usize];
    let name = length.prop_flat_map(move |length| vec(byte.clone(), length));
    let name =
        name.prop_filter("names that a tar cannot hold", |name| name != b"." && name != b"..");
    // On both sides of what seven and eleven octal digits hold.
    let large = || prop_oneof![2_097_100..2_097_200_u32, Just(u32::MAX - 1)];
    let ids = || prop_oneof![4 => Just(0), 2 => 0..70_000_u32, 2 => large()];
    let seconds = prop_oneof![
        8 => 0..2_000_000_000_i64,
        1 => -2_000_000_000..0_i64,
        1 => 8_589_934_000..8_589_935_000_i64,
    ];
    let nanoseconds = prop_oneof![Just(0), 0..1_000_000_000_i64];
    let xattr = (
        select(vec!["user.a", "user.b", "trusted.c"]),
        vec(prop_oneof![Just(b'\n'), Just(0), any::<u8>()], 0..40),
    );
    let mode = prop_oneof![4 => Just(0o644), 4 => 0..=0o777_u32, 1 => 0..=0o7777_u32];
    (any::<Index>(), name, kind(), mode, (ids(), ids()), (seconds, nanoseconds), vec(xattr, 0..2))
        .prop_map(|(above, name, kind, mode, owner, time, xattrs)| Node {
            above,
            name,
            kind,
            mode,
            owner,
            time,
            xattrs,
        })
}

fn kind() -> impl Strategy<Value = Kind> {
    let hole =
        || prop_oneof![4 => Just(0), 2 => 1..20_000_u64, 1 => (0..64_u64).prop_map(|n| n * 4096)];
    let piece = (hole(), prop_oneof![vec(any::<u8>(), 0..2_000), vec(Just(b'x'), 4096..12_000)]);
    let target = vec(prop_oneof![Just(b'/'), Just(b'.'), b'a'..=b'e', Just(0xff)], 1..150);
    let kinds = select(vec![FileType::CharacterDevice, FileType::BlockDevice]);
    let device = (kinds, 0..4096_u32, 0..1_u32 << 20);
    prop_oneof![
        4 => Just(Kind::Directory),
        1 => Just(Kind::File(Vec::new(), 0)),
        6 => (vec(piece, 0..5), hole()).prop_map(|(pieces, end)| Kind::File(pieces, end)),
        2 => any::<Index>().prop_map(Kind::HardLink),
        2 => target.prop_map(Kind::Symlink),
        1 => Just(Kind::Node(FileType::Fifo, 0, 0)),
        1 => device.prop_map(|(kind, major, minor)| Kind::Node(kind, major, minor)),
    ]
}

/// Makes the nodes, and afterwards gives them what making others would change.
fn make(top: &Path, nodes: &[Node]) {
    fs::create_dir(top).unwrap();
    let (mut directories, mut files, mut made) = (vec![top.to_owned()], Vec::new(), Vec::new());
    for node in nodes {
        let path = node.above.get(&directories).join(OsStr::from_bytes(&node.name));
        // PATH_MAX, with which the tests themselves would have to deal.
        if fs::symlink_metadata(&path).is_ok() || path.as_os_str().len() > 3000 {
            continue;
        }
        match &node.kind {
            Kind::Directory => {
                fs::create_dir(&path).unwrap();
                directories.push(path.clone());
            }
            Kind::File(pieces, end) => {
                let (file, mut at) = (File::create(&path).unwrap(), 0);
                for (hole, bytes) in pieces {
                    file.write_all_at(bytes, at + hole).unwrap();
                    at += hole + bytes.len() as u64;
                }
                file.set_len(at + end).unwrap();
            }
            Kind::HardLink(_) if files.is_empty() => continue,
            Kind::HardLink(target) => {
                fs::hard_link(target.get(&files), &path).unwrap();
                continue;
            }
            Kind::Symlink(target) => symlink(OsStr::from_bytes(target), &path).unwrap(),
            Kind::Node(kind, major, minor) if is_root() || *kind == FileType::Fifo => {
                mknodat(CWD, &path, *kind, Mode::empty(), makedev(*major, *minor)).unwrap();
            }
            Kind::Node(..) => continue,
        }
        // A second name for a symlink that points out of the root is refused on purpose.
        if !matches!(node.kind, Kind::Directory | Kind::Symlink(_)) {
            files.push(path.clone());
        }
        made.push((path, node));
    }
    for (path, node) in made.iter().rev() {
        set(path, node);
    }
}

fn set(path: &Path, node: &Node) {
    if is_root() {
        lchown(path, Some(node.owner.0), Some(node.owner.1)).unwrap();
    }
    if matches!(node.kind, Kind::File(..) | Kind::Directory) {
        for (name, value) in
            node.xattrs.iter().filter(|(name, _)| is_root() || name.starts_with("user."))
        {
            lsetxattr(path, *name, value, XattrFlags::empty()).unwrap();
        }
    }
    if !matches!(node.kind, Kind::Symlink(_)) {
        // Who is not root cannot pack what they cannot read.
        // Nor gives tar attributes to a file that they cannot write.
        let mode = if is_root() { node.mode } else { node.mode | 0o700 };
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    let omitted = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    let time = Timespec { tv_sec: node.time.0, tv_nsec: node.time.1 };
    let times = Timestamps { last_access: omitted, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn tar(arguments: &[&str], options: &[&str], place: &Place) -> bool {
    let mut command = Command::new("tar");
    command.args(options).args(arguments).current_dir(place.path("")).stderr(Stdio::null());
    command.status().unwrap().success()
}

const FORMATS: [&[&str]; 7] = [
    &["--format=v7"],
    &["--format=ustar"],
    &["--format=oldgnu", "--sparse"],
    &["--format=gnu", "--sparse"],
    &["--format=pax", "--xattrs", "--sparse", "--sparse-version=0.0"],
    &["--format=pax", "--xattrs", "--sparse", "--sparse-version=0.1"],
    &["--format=pax", "--xattrs", "--sparse", "--sparse-version=1.0"],
];

proptest! {
    #![proptest_config(config(128))]

    #[test]
    fn a_tree_is_what_tar_makes_of_it(
        nodes in vec(node(), 0..20),
        format in select(FORMATS.to_vec()),
    ) {
        let place = Place::in_memory();
        make(&place.path("tree"), &nodes);
        let packed = tar(&["-cf", "layer.tar", "-C", "tree", "."], format, &place);
        prop_assume!(packed, "older formats have no room for all");
        fs::create_dir(place.path("expected")).unwrap();
        let options = ["--xattrs", "--xattrs-include=*", "--numeric-owner"];
        prop_assert!(tar(&["-xpf", "layer.tar", "-C", "expected"], &options, &place));
        place.write("image", &oci(&[fs::read(place.path("layer.tar")).unwrap()]).tar());
        place.unpack(&["image", "rootfs"]);
        prop_assert_eq!(facts(&place.path("rootfs")), facts(&place.path("expected")));
    }
}
