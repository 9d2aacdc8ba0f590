//! Images: the config and the layers that an archive's table of contents leads to.

use crate::archive::{Archive, Source, Stream};
use crate::blob::Blob;
use crate::compression::Compression;
use crate::digest::{self, Digest};
use crate::limits::Limits;
use crate::platform::Platform;
use crate::{docker, oci, rootfs};
use pk::{Attempt, Error, Result};
use serde_json::Value;
use std::ffi::OsStr;
use std::path::Path;

/// Which image of an archive is wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// A tag, where the archive holds several images.
    pub tag: Option<String>,
    /// A platform, where an index holds several; this machine's if none was asked for.
    pub platform: Option<Platform>,
}

/// What IMAGE holds.
pub enum Content {
    Image(Archive, Image),
    /// One plain tar of a root filesystem, or what may be one.
    Rootfs(Stream),
}

impl Content {
    /// Finds out. A stream that may hold an image is copied to the directory `beside` first.
    pub fn find(
        operand: &OsStr,
        wanted: &Wanted,
        beside: &Path,
        mut limits: Limits,
    ) -> Result<Self> {
        let archive = match Source::open(operand)? {
            Source::Stream(stream) if stream.is_rootfs => return Ok(Self::Rootfs(stream)),
            Source::Stream(stream) => Archive::spool(stream, beside, &mut limits)?,
            Source::Archive(archive) => archive,
        };
        match (Image::find(&archive, wanted)?, archive.tar()) {
            (Some(image), _) => Ok(Self::Image(archive, image)),
            (None, Some(tar)) if archive.is_rootfs() => {
                Stream::new(tar.clone(), archive.name().to_owned()).map(Self::Rootfs)
            }
            (None, _) => Err(Error::new(archive.name(), rootfs::NEITHER)),
        }
    }
}

/// One image. Its documents were read and their digests checked; its layers were not read yet.
#[derive(Debug)]
pub struct Image {
    /// The manifest's digest, or the config's where there is no manifest (the image's id).
    pub digest: String,
    /// The config as it is, JSON.
    pub config: Vec<u8>,
    /// The config's path in the archive.
    pub config_path: String,
    /// The layers, the lowest first.
    pub layers: Vec<Layer>,
}

/// One layer: a tar, perhaps compressed.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Its path in the archive.
    pub path: String,
    pub blob: Blob,
    pub compression: Compression,
    /// The digest of the blob as it lies there, where the image states one.
    pub digest: Option<Digest>,
    /// The digest of the tar.
    pub diff_id: Digest,
}

impl Image {
    /// Finds the wanted image; none where the archive has no table of contents. The OCI index comes first: what `docker save` writes today has
    /// both tables, and only that one has manifests with digests.
    pub fn find(archive: &Archive, wanted: &Wanted) -> Result<Option<Self>> {
        if let Some(mut blob) = archive.blob("index.json")? {
            let index = archive.document("index.json", &mut blob)?;
            return oci::find(archive, &index, wanted).map(Some);
        }
        if let Some(mut blob) = archive.blob("manifest.json")? {
            let manifest = archive.document("manifest.json", &mut blob)?;
            return docker::find(archive, &manifest, wanted).map(Some);
        }
        Ok(None)
    }
}

impl Layer {
    /// The layer in `blob`, which lies at `path`.
    pub fn new(path: String, blob: Blob, digest: Option<Digest>, diff_id: Digest) -> Result<Self> {
        let compression = blob.compression().attempt(format_args!("read({path:?})"))?;
        Ok(Self { path, blob, compression, digest, diff_id })
    }

    /// How errors call it.
    pub fn name(&self) -> String {
        format!("layer {}", digest::short(self.digest.as_ref().unwrap_or(&self.diff_id)))
    }
}

/// An image's config, which was read from `place`.
pub struct Config {
    place: String,
    value: Value,
}

impl Config {
    pub fn parse(place: String, bytes: &[u8]) -> Result<Self> {
        let value = json(&place, serde_json::from_slice(bytes))?;
        Ok(Self { place, value })
    }

    pub fn platform(&self) -> Platform {
        Platform::of_config(&self.value)
    }

    /// The digests of the layers' tars; there must be `count`.
    pub fn diff_ids(&self, count: usize) -> Result<Vec<Digest>> {
        let listed = self.value["rootfs"]["diff_ids"].as_array();
        let listed = listed.ok_or_else(|| Error::new(&self.place, "has no rootfs.diff_ids"))?;
        if listed.len() != count {
            let reason = format!("has {} diff_ids for {count} layers", listed.len());
            return Err(Error::new(&self.place, reason));
        }
        let texts = listed.iter().map(|id| id.as_str().unwrap_or_default());
        texts.map(|text| digest::parse(text, &self.place)).collect()
    }
}

/// Says which document is malformed.
pub fn json<T>(place: &str, parsed: serde_json::Result<T>) -> Result<T> {
    parsed.map_err(|error| Error::new(place, format!("malformed: {error}")))
}

/// Whether `tag`, as a user says it, means the image called `name`: `alpine` and `latest` both
/// mean `docker.io/library/alpine:latest`.
pub fn is_called(name: &str, tag: &str) -> bool {
    let familiar = name.strip_prefix("docker.io/").unwrap_or(name);
    let familiar = familiar.strip_prefix("library/").unwrap_or(familiar);
    let last = name.rsplit_once(':').map(|(_, last)| last).filter(|last| !last.contains('/'));
    [name, familiar].contains(&tag)
        || familiar.strip_suffix(":latest") == Some(tag)
        || last == Some(tag)
}

/// The error for a tag that is not there, or is needed.
pub fn choose_by_tag(archive: &Archive, tag: Option<&str>, names: &[String]) -> Error {
    let listed: Vec<_> = names.iter().map(|name| format!("--tag {name}")).collect();
    let hint = (!listed.is_empty()).then(|| format!("it has {}", listed.join(", ")));
    let reason = tag.map_or_else(
        || "holds several images".to_owned(),
        |tag| format!("holds no image with the tag {tag:?}"),
    );
    Error::new(archive.name(), reason).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_may_be_said_in_short() {
        let table = [
            ("alpine:latest", "alpine", true),
            ("alpine:latest", "alpine:latest", true),
            ("alpine:latest", "latest", true),
            ("docker.io/library/alpine:3.19", "alpine:3.19", true),
            ("docker.io/library/alpine:3.19", "3.19", true),
            ("docker.io/library/alpine:3.19", "alpine", false),
            ("docker.io/me/app:latest", "me/app", true),
            ("localhost:5000/app", "5000/app", false),
            ("latest", "latest", true),
            ("alpine:latest", "alp", false),
        ];
        for (name, tag, expected) in table {
            assert_eq!(is_called(name, tag), expected, "{name} {tag}");
        }
    }

    #[test]
    fn a_config_lists_a_digest_for_each_layer() {
        let id = format!("\"sha256:{}\"", "0".repeat(64));
        let table = [
            (format!("{{\"rootfs\":{{\"diff_ids\":[{id},{id}]}}}}"), true),
            (format!("{{\"rootfs\":{{\"diff_ids\":[{id}]}}}}"), false),
            (format!("{{\"rootfs\":{{\"diff_ids\":[{id},7]}}}}"), false),
            ("{}".to_owned(), false),
        ];
        for (text, good) in table {
            let config = Config::parse("config".to_owned(), text.as_bytes()).unwrap();
            assert_eq!(config.diff_ids(2).is_ok(), good, "{text}");
        }
        assert!(Config::parse("config".to_owned(), b"{").is_err());
    }
}
