//! Layers of well-formed entries whose few names meet each other again and again.
#![no_main]

include!("../modules.rs");

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use tar::{EntryType, Header};

#[derive(Arbitrary, Debug)]
struct Member {
    kind: Kind,
    name: (Part, Option<Part>),
    target: Target,
    data: u8,
    mode: u16,
    records: Vec<(Key, Vec<u8>)>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Kind {
    File,
    Directory,
    Symlink,
    HardLink,
    Fifo,
    Device,
    Global,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Part {
    A,
    B,
    C,
    /// An absolute name, if it comes first.
    Nothing,
    Dot,
    Up,
    Hidden,
    HiddenDots,
    Opaque,
    Aufs,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Target {
    Inside(Part, Option<Part>),
    Canary,
    UpToCanary,
    Root,
    Proc,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Key {
    Path,
    Linkpath,
    Size,
    Uid,
    Mtime,
    Xattr,
    Libarchive,
    Acl,
    Map,
    Realsize,
    Major,
}

impl Part {
    fn text(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
            Self::C => "c",
            Self::Dot => ".",
            Self::Up => "..",
            Self::Nothing => "",
            Self::Hidden => ".wh.a",
            Self::HiddenDots => ".wh...",
            Self::Opaque => ".wh..wh..opq",
            Self::Aufs => ".wh..wh.plnk",
        }
    }
}

impl Key {
    fn text(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Linkpath => "linkpath",
            Self::Size => "size",
            Self::Uid => "uid",
            Self::Mtime => "mtime",
            Self::Xattr => "SCHILY.xattr.user.x",
            Self::Libarchive => "LIBARCHIVE.xattr.user.x",
            Self::Acl => "SCHILY.xattr.system.posix_acl_default",
            Self::Map => "GNU.sparse.map",
            Self::Realsize => "GNU.sparse.size",
            Self::Major => "GNU.sparse.major",
        }
    }
}

impl Kind {
    fn entry_type(self) -> EntryType {
        match self {
            Self::File => EntryType::Regular,
            Self::Directory => EntryType::Directory,
            Self::Symlink => EntryType::Symlink,
            Self::HardLink => EntryType::Link,
            Self::Fifo => EntryType::Fifo,
            Self::Device => EntryType::Char,
            Self::Global => EntryType::XGlobalHeader,
        }
    }
}

impl Target {
    fn text(self) -> String {
        match self {
            Self::Inside(first, second) => joined(first, second),
            Self::Canary => "/dev/shm/pk/canary".to_owned(),
            Self::UpToCanary => "../canary".to_owned(),
            Self::Root => "/".to_owned(),
            Self::Proc => "/proc/self/cwd".to_owned(),
        }
    }
}

fn joined(first: Part, second: Option<Part>) -> String {
    let second = second.map(|part| format!("/{}", part.text()));
    format!("{}{}", first.text(), second.unwrap_or_default())
}

fn append(tar: &mut Vec<u8>, kind: EntryType, member: &Member, data: &[u8]) {
    let mut header = Header::new_ustar();
    let (name, target) = (joined(member.name.0, member.name.1), member.target.text());
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(member.mode.into());
    header.set_uid(member.data.into());
    header.set_gid(0);
    header.set_mtime(1);
    header.set_device_major(0).unwrap();
    header.set_device_minor(member.data.into()).unwrap();
    header.set_size(data.len() as u64);
    header.set_cksum();
    tar.extend(header.as_bytes());
    tar.extend(data);
    tar.resize(tar.len().next_multiple_of(512), 0);
}

fn records(member: &Member) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in &member.records {
        let rest = key.text().len() + value.len() + 3;
        let digits = (1..9).find(|digits| (rest + digits).to_string().len() == *digits).unwrap();
        bytes.extend(format!("{} {}=", rest + digits, key.text()).as_bytes());
        bytes.extend(value);
        bytes.push(b'\n');
    }
    bytes
}

fuzz_target!(|layers: Vec<Vec<Member>>| {
    let tars: Vec<_> = layers
        .iter()
        .map(|members| {
            let mut tar = Vec::new();
            for member in members {
                let records = records(member);
                match member.kind {
                    Kind::Global => append(&mut tar, EntryType::XGlobalHeader, member, &records),
                    kind => {
                        if !records.is_empty() {
                            append(&mut tar, EntryType::XHeader, member, &records);
                        }
                        let file = matches!(kind, Kind::File);
                        let data = vec![member.data; if file { member.data.into() } else { 0 }];
                        append(&mut tar, kind.entry_type(), member, &data);
                    }
                }
            }
            tar
        })
        .collect();
    let tars: Vec<_> = tars.iter().map(Vec::as_slice).collect();
    sandbox::apply(&tars);
});
