//! OCI image layouts: from the index to a manifest, and from there to config and layers. OCI image
//! specification, "Image Layout", "Image Index", "Image Manifest".

use crate::archive::{Archive, Blob};
use crate::digest::{self, Digest};
use crate::image::{self, Config, Image, Layer, Wanted, json};
use crate::platform::Platform;
use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, MediaType};
use pk::{Error, Result};
use std::collections::{HashSet, VecDeque};

/// Descriptors that nested indexes may lead to.
const MOST_DESCRIPTORS: usize = 10_000;

/// What a media type stands for, in OCI's words or in Docker's.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Content {
    Index,
    Manifest,
    Config,
    Layer,
}

impl Content {
    fn of(kind: &MediaType) -> Option<Self> {
        Some(match kind {
            MediaType::ImageIndex => Self::Index,
            MediaType::ImageManifest => Self::Manifest,
            MediaType::ImageConfig => Self::Config,
            MediaType::ImageLayer
            | MediaType::ImageLayerGzip
            | MediaType::ImageLayerZstd
            | MediaType::ImageLayerNonDistributable
            | MediaType::ImageLayerNonDistributableGzip
            | MediaType::ImageLayerNonDistributableZstd => Self::Layer,
            MediaType::Other(name) => match name.strip_prefix("application/vnd.docker.")? {
                "distribution.manifest.list.v2+json" => Self::Index,
                "distribution.manifest.v2+json" => Self::Manifest,
                "container.image.v1+json" => Self::Config,
                "image.rootfs.diff.tar"
                | "image.rootfs.diff.tar.gzip"
                | "image.rootfs.diff.tar.zstd"
                | "image.rootfs.foreign.diff.tar"
                | "image.rootfs.foreign.diff.tar.gzip" => Self::Layer,
                _ => return None,
            },
            _ => return None,
        })
    }
}

/// Finds the wanted image, starting at `index.json`.
pub fn find(archive: &Archive, index: &[u8], wanted: &Wanted) -> Result<Image> {
    let place = archive.part("index.json");
    let index: ImageIndex = json(&place, serde_json::from_slice(index))?;
    let tagged = tagged(archive, index.manifests(), wanted.tag.as_deref())?;
    let manifests = manifests(archive, tagged)?;
    let chosen = choose(archive, &manifests, wanted.platform.as_ref())?;
    read(archive, chosen)
}

/// The names that an index gives an image: the tag alone, or the whole name.
fn names(descriptor: &Descriptor) -> Vec<&String> {
    let keys = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
    let annotations = descriptor.annotations().as_ref();
    keys.iter().filter_map(|&key| annotations?.get(key)).collect()
}

fn tagged(archive: &Archive, all: &[Descriptor], tag: Option<&str>) -> Result<Vec<Descriptor>> {
    let mut known: Vec<String> =
        all.iter().filter_map(|one| names(one).first().copied().cloned()).collect();
    known.dedup();
    let Some(tag) = tag else {
        let named = all.iter().filter(|one| !names(one).is_empty());
        let digests: HashSet<_> = named.map(|one| one.digest().as_ref()).collect();
        if known.len() > 1 && digests.len() > 1 {
            return Err(image::choose_by_tag(archive, None, &known));
        }
        return Ok(all.to_vec());
    };
    let is_meant = |one: &&Descriptor| names(one).iter().any(|name| image::is_called(name, tag));
    let meant: Vec<_> = all.iter().filter(is_meant).cloned().collect();
    if meant.is_empty() {
        return Err(image::choose_by_tag(archive, Some(tag), &known));
    }
    Ok(meant)
}

/// The manifests that descriptors lead to, through nested indexes.
fn manifests(archive: &Archive, start: Vec<Descriptor>) -> Result<Vec<Descriptor>> {
    let mut queue = VecDeque::from(start);
    let (mut seen, mut found, mut unknown) = (HashSet::new(), Vec::new(), None);
    while let Some(descriptor) = queue.pop_front() {
        if !seen.insert(descriptor.digest().to_string()) || is_attestation(&descriptor) {
            continue;
        }
        if seen.len() + queue.len() > MOST_DESCRIPTORS {
            return Err(Error::new(archive.name(), "its indexes list too much"));
        }
        match Content::of(descriptor.media_type()) {
            Some(Content::Index) => {
                let (place, bytes) = document(archive, &descriptor, "an index")?;
                let index: ImageIndex = json(&place, serde_json::from_slice(&bytes))?;
                queue.extend(index.manifests().iter().cloned());
            }
            Some(Content::Manifest) => found.push(descriptor),
            // An index may list what is no image. The specification asks to leave it out.
            _ => unknown = Some(descriptor),
        }
    }
    match unknown {
        Some(unknown) if found.is_empty() => Err(unknown_type(archive, &unknown, "a manifest")),
        _ => Ok(found),
    }
}

/// Docker's builder lists what it says about an image beside it, for no platform at all.
fn is_attestation(descriptor: &Descriptor) -> bool {
    let platform = descriptor.platform().as_ref().map(Platform::from);
    platform.is_some_and(|platform| platform.to_string() == "unknown/unknown")
}

fn choose<'a>(
    archive: &Archive,
    manifests: &'a [Descriptor],
    wanted: Option<&Platform>,
) -> Result<&'a Descriptor> {
    let wanted = match (manifests, wanted) {
        ([only], None) => return Ok(only),
        (_, wanted) => wanted.cloned().unwrap_or_else(Platform::here),
    };
    let mut offered = Vec::new();
    for manifest in manifests {
        offered.push((platform(archive, manifest)?, manifest));
    }
    let fitting = || offered.iter().filter(|(platform, _)| wanted.takes(platform));
    let general = fitting().find(|(platform, _)| platform.is_general());
    if let Some((_, manifest)) = general.or_else(|| fitting().next()) {
        return Ok(manifest);
    }
    let listed: Vec<_> =
        offered.iter().map(|(platform, _)| format!("--platform {platform}")).collect();
    let hint = (!listed.is_empty()).then(|| format!("it has {}", listed.join(", ")));
    Err(Error::new(archive.name(), format!("holds no image for {wanted}")).hint(hint))
}

/// The platform that an index states, or the config where the index states none.
fn platform(archive: &Archive, descriptor: &Descriptor) -> Result<Platform> {
    if let Some(platform) = descriptor.platform() {
        return Ok(platform.into());
    }
    let (_, manifest) = manifest(archive, descriptor)?;
    Ok(config(archive, &manifest)?.0.platform())
}

fn read(archive: &Archive, descriptor: &Descriptor) -> Result<Image> {
    let (place, manifest) = manifest(archive, descriptor)?;
    let (config, bytes) = config(archive, &manifest)?;
    let diff_ids = config.diff_ids(manifest.layers().len())?;
    let mut layers = Vec::new();
    for (layer, diff_id) in manifest.layers().iter().zip(diff_ids) {
        if Content::of(layer.media_type()) != Some(Content::Layer) {
            return Err(unknown_type(archive, layer, "a layer"));
        }
        let (path, blob) = blob(archive, layer, &place)?;
        layers.push(Layer::new(path, blob, Some(layer.digest().clone()), diff_id)?);
    }
    let config_path = path(manifest.config().digest());
    Ok(Image { digest: descriptor.digest().to_string(), config: bytes, config_path, layers })
}

fn manifest(archive: &Archive, descriptor: &Descriptor) -> Result<(String, ImageManifest)> {
    let (place, bytes) = document(archive, descriptor, "the index")?;
    let manifest = json(&place, serde_json::from_slice(&bytes))?;
    Ok((place, manifest))
}

fn config(archive: &Archive, manifest: &ImageManifest) -> Result<(Config, Vec<u8>)> {
    if Content::of(manifest.config().media_type()) != Some(Content::Config) {
        return Err(unknown_type(archive, manifest.config(), "an image's config"));
    }
    let (place, bytes) = document(archive, manifest.config(), "the manifest")?;
    Ok((Config::parse(place, &bytes)?, bytes))
}

/// A document, its digest checked.
fn document(archive: &Archive, descriptor: &Descriptor, whose: &str) -> Result<(String, Vec<u8>)> {
    let (path, mut blob) = blob(archive, descriptor, whose)?;
    let bytes = archive.document(&path, &mut blob)?;
    let place = archive.part(&path);
    digest::check(&bytes, descriptor.digest(), &place)?;
    Ok((place, bytes))
}

/// A blob, its size checked.
fn blob(archive: &Archive, descriptor: &Descriptor, whose: &str) -> Result<(String, Blob)> {
    let path = path(descriptor.digest());
    let blob = archive.named_blob(&path, whose)?;
    if blob.size() != descriptor.size() {
        let reason =
            format!("has {} bytes, but the image states {}", blob.size(), descriptor.size());
        return Err(Error::new(archive.part(&path), reason));
    }
    Ok((path, blob))
}

fn path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.digest())
}

fn unknown_type(archive: &Archive, descriptor: &Descriptor, wanted: &str) -> Error {
    let place = archive.part(&path(descriptor.digest()));
    let kind = descriptor.media_type().to_string();
    Error::new(place, format!("its media type {kind:?} is not known as that of {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_known_in_both_families() {
        let table = [
            ("application/vnd.oci.image.index.v1+json", Some(Content::Index)),
            ("application/vnd.oci.image.manifest.v1+json", Some(Content::Manifest)),
            ("application/vnd.oci.image.layer.v1.tar+zstd", Some(Content::Layer)),
            ("application/vnd.docker.distribution.manifest.list.v2+json", Some(Content::Index)),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", Some(Content::Layer)),
            ("application/vnd.docker.container.image.v1+json", Some(Content::Config)),
            ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", None),
            ("application/vnd.cncf.helm.config.v1+json", None),
            ("", None),
        ];
        for (name, content) in table {
            assert_eq!(Content::of(&MediaType::from(name)), content, "{name}");
        }
    }

    #[test]
    fn platforms_are_compared() {
        let table = [
            ("linux/amd64", "linux/amd64", true),
            ("linux/amd64", "linux/amd64/v3", true),
            ("linux/arm64/v8", "linux/arm64", true),
            ("linux/arm64", "linux/arm64/v8", true),
            ("linux/arm/v7", "linux/arm/v6", false),
            ("linux/amd64", "windows/amd64", false),
            ("linux/amd64", "linux/arm64", false),
        ];
        for (wanted, offered, expected) in table {
            let [wanted, offered]: [Platform; 2] =
                [wanted, offered].map(|text| text.parse().unwrap());
            assert_eq!(wanted.takes(&offered), expected, "{wanted} {offered}");
        }
        for text in ["linux", "", "a/b/c/d"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }
}
