//! Image archives made in code: entries make layers, layers make parts, parts make an archive.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::path::Path;
use tar::{Builder, EntryType, Header};

/// A member of a layer.
#[derive(Clone)]
pub struct Item {
    path: Vec<u8>,
    kind: EntryType,
    mode: u32,
    owner: (u64, u64),
    link: Vec<u8>,
    device: (u32, u32),
    data: Vec<u8>,
    records: Vec<(String, Vec<u8>)>,
}

fn item(path: impl AsRef<[u8]>, kind: EntryType, mode: u32) -> Item {
    let (path, owner) = (path.as_ref().to_vec(), (owner().0.into(), owner().1.into()));
    let (link, data, records) = (Vec::new(), Vec::new(), Vec::new());
    Item { path, kind, mode, owner, link, device: (0, 0), data, records }
}

/// Whoever runs the tests, so that a chown changes nothing.
pub fn owner() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

pub fn directory(path: impl AsRef<[u8]>) -> Item {
    item(path, EntryType::Directory, 0o755)
}

pub fn file(path: impl AsRef<[u8]>, data: &str) -> Item {
    Item { data: data.into(), ..item(path, EntryType::Regular, 0o644) }
}

pub fn symlink(path: impl AsRef<[u8]>, target: &str) -> Item {
    Item { link: target.into(), ..item(path, EntryType::Symlink, 0o777) }
}

pub fn hard_link(path: impl AsRef<[u8]>, target: &str) -> Item {
    Item { link: target.into(), ..item(path, EntryType::Link, 0o644) }
}

pub fn fifo(path: &str) -> Item {
    item(path, EntryType::Fifo, 0o640)
}

pub fn null(path: &str) -> Item {
    Item { device: (1, 3), ..item(path, EntryType::Char, 0o666) }
}

/// An extended header with these bytes in it.
pub fn extended(data: &str) -> Item {
    Item { data: data.into(), ..item("pax", EntryType::XHeader, 0o644) }
}

/// A whiteout, with the mode that umoci gives it.
pub fn whiteout(path: &str) -> Item {
    Item { mode: 0, ..file(path, "") }
}

impl Item {
    pub fn name(&self) -> String {
        String::from_utf8_lossy(&self.path).into_owned()
    }

    pub fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    pub fn owner(self, uid: u64, gid: u64) -> Self {
        Self { owner: (uid, gid), ..self }
    }

    /// A PAX record before the entry.
    pub fn record(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.records.push((key.to_owned(), value.as_ref().to_vec()));
        self
    }

    fn append(&self, tar: &mut Builder<Vec<u8>>) {
        let records = self.records.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        tar.append_pax_extensions(records).unwrap();
        let mut header = Header::new_ustar();
        // The tar crate's own setter refuses what the tests are about.
        header.as_old_mut().name[..self.path.len()].copy_from_slice(&self.path);
        header.as_old_mut().linkname[..self.link.len()].copy_from_slice(&self.link);
        header.set_entry_type(self.kind);
        header.set_mode(self.mode);
        header.set_uid(self.owner.0);
        header.set_gid(self.owner.1);
        header.set_mtime(1_000_000_000);
        header.set_device_major(self.device.0).unwrap();
        header.set_device_minor(self.device.1).unwrap();
        header.set_size(self.data.len() as u64);
        header.set_cksum();
        tar.append(&header, self.data.as_slice()).unwrap();
    }
}

/// The tar of a layer.
pub fn layer(items: impl IntoIterator<Item = Item>) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    items.into_iter().for_each(|item| item.append(&mut tar));
    tar.into_inner().unwrap()
}

/// A layer of one file, in whose header these bytes stand at `at`.
pub fn odd_header(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut tar = layer([file("f", "")]);
    tar[at..at + bytes.len()].copy_from_slice(bytes);
    tar[148..156].fill(b' ');
    let sum: u32 = tar[..512].iter().map(|&byte| u32::from(byte)).sum();
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

pub fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The parts of an archive by their paths; a part may be a symlink.
#[derive(Clone, Default)]
pub struct Parts(pub Vec<(String, Part)>);

#[derive(Clone)]
pub enum Part {
    Bytes(Vec<u8>),
    Link(String),
}

impl Parts {
    pub fn add(&mut self, path: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.push((path.into(), Part::Bytes(bytes.into())));
    }

    /// Adds a blob and returns its descriptor.
    pub fn blob(&mut self, kind: &str, bytes: impl Into<Vec<u8>>) -> Value {
        let bytes = bytes.into();
        let hex = hex(&bytes);
        let descriptor = json!({
            "mediaType": format!("application/vnd.oci.image.{kind}"),
            "digest": format!("sha256:{hex}"), "size": bytes.len(),
        });
        self.add(format!("blobs/sha256/{hex}"), bytes);
        descriptor
    }

    /// Adds an image of layers as they are, of which `tars` are the tars. Returns the manifest's
    /// descriptor.
    pub fn image(&mut self, blobs: &[Vec<u8>], tars: &[Vec<u8>]) -> Value {
        let config = self.blob("config.v1+json", config(tars));
        let layers = blobs.iter().map(|bytes| self.blob("layer.v1.tar", bytes.clone()));
        let layers: Vec<_> = layers.collect();
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers });
        self.blob("manifest.v1+json", manifest.to_string())
    }

    pub fn index(&mut self, manifests: &[Value]) {
        let index = json!({ "schemaVersion": 2, "manifests": manifests });
        self.add("index.json", index.to_string());
    }

    pub fn tar(&self) -> Vec<u8> {
        let mut tar = Builder::new(Vec::new());
        for (path, part) in &self.0 {
            match part {
                Part::Bytes(bytes) => Item { data: bytes.clone(), ..file(path, "") },
                Part::Link(target) => symlink(path, target),
            }
            .append(&mut tar);
        }
        tar.into_inner().unwrap()
    }

    pub fn write_to(&self, directory: &Path) {
        for (path, part) in &self.0 {
            let path = directory.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match part {
                Part::Bytes(bytes) => fs::write(path, bytes).unwrap(),
                Part::Link(target) => std::os::unix::fs::symlink(target, path).unwrap(),
            }
        }
    }
}

pub fn config(tars: &[Vec<u8>]) -> String {
    let ids: Vec<_> = tars.iter().map(|tar| format!("sha256:{}", hex(tar))).collect();
    let rootfs = json!({ "type": "layers", "diff_ids": ids });
    json!({ "os": "linux", "architecture": "amd64", "rootfs": rootfs }).to_string()
}

/// An image layout with one image of plain layers.
pub fn oci(tars: &[Vec<u8>]) -> Parts {
    let mut parts = Parts::default();
    let manifest = parts.image(tars, tars);
    parts.index(&[manifest]);
    parts
}

/// What `docker save` wrote before version 25, here with the list of images at the end: a
/// layer that two images share was a symlink.
pub fn docker(images: &[(&str, &[Vec<u8>])]) -> Parts {
    let mut parts = Parts::default();
    let mut listed = Vec::new();
    for (number, (name, tars)) in images.iter().enumerate() {
        let mut paths = Vec::new();
        for (index, tar) in tars.iter().enumerate() {
            let path = format!("{number}-{index}/layer.tar");
            let same = parts.0.iter().find_map(|(path, part)| match part {
                Part::Bytes(bytes) if bytes == tar => Some(path.clone()),
                _ => None,
            });
            let part = same.map(|path| Part::Link(format!("../{path}")));
            parts.0.push((path.clone(), part.unwrap_or(Part::Bytes(tar.clone()))));
            paths.push(path);
        }
        let config = config(tars);
        let path = format!("{}.json", hex(config.as_bytes()));
        parts.add(&path, config);
        listed.push(json!({ "Config": path, "RepoTags": [name], "Layers": paths }));
    }
    parts.add("manifest.json", Value::from(listed).to_string());
    parts
}
