//! `docker save` archives: `manifest.json` lists images, each with the paths of its config and
//! its layers. Moby, image/spec/v1.2.md, "Combined Image JSON + Filesystem Changeset Format".

use crate::archive::Archive;
use crate::digest::{self, Digest};
use crate::image::{self, Config, Image, Layer, Wanted, json};
use crate::platform::Platform;
use pk::{Error, Result};
use serde_json::Value;

/// Finds the wanted image in `manifest.json`.
pub fn find(archive: &Archive, manifest: &[u8], wanted: &Wanted) -> Result<Image> {
    let place = archive.part("manifest.json");
    let manifest: Value = json(&place, serde_json::from_slice(manifest))?;
    let images = manifest.as_array().ok_or_else(|| Error::new(&place, "is not a list"))?;
    let chosen = choose(archive, images, wanted.tag.as_deref())?;

    let path = chosen["Config"].as_str();
    let path = path.ok_or_else(|| Error::new(&place, "an image without Config"))?;
    let mut blob = archive.named_blob(path, "manifest.json")?;
    let bytes = archive.document(path, &mut blob)?;
    if let Some(stated) = stated(path) {
        digest::check(&bytes, &stated, &archive.part(path))?;
    }
    let config = Config::parse(archive.part(path), &bytes)?;
    let is_other = |wanted: &&Platform| !wanted.takes(&config.platform());
    if let Some(platform) = wanted.platform.as_ref().filter(is_other) {
        let hint = format!("it has --platform {}", config.platform());
        let error = Error::new(archive.name(), format!("holds no image for {platform}"));
        return Err(error.hint(hint));
    }

    let paths = chosen["Layers"].as_array().into_iter().flatten();
    let paths: Vec<&str> = paths.map(|path| path.as_str().unwrap_or_default()).collect();
    let diff_ids = config.diff_ids(paths.len())?;
    let mut layers = Vec::new();
    for (path, diff_id) in paths.into_iter().zip(diff_ids) {
        let blob = archive.named_blob(path, "manifest.json")?;
        let digest = stated(path).filter(|_| path.starts_with("blobs/"));
        layers.push(Layer::new(path.to_owned(), blob, digest, diff_id)?);
    }
    Ok(Image {
        digest: digest::sha256(&bytes),
        config: bytes,
        config_path: path.to_owned(),
        layers,
    })
}

fn choose<'a>(archive: &Archive, images: &'a [Value], tag: Option<&str>) -> Result<&'a Value> {
    let listed = || images.iter().flat_map(tags).map(str::to_owned).collect::<Vec<_>>();
    let is_meant =
        |image: &&Value| tag.is_none_or(|tag| tags(image).any(|name| image::is_called(name, tag)));
    let meant: Vec<_> = images.iter().filter(is_meant).collect();
    match meant[..] {
        [only] => Ok(only),
        [] if tag.is_none() => Err(Error::new(archive.part("manifest.json"), "lists no image")),
        [] => Err(image::choose_by_tag(archive, tag, &listed())),
        _ => Err(image::choose_by_tag(archive, None, &listed())),
    }
}

fn tags(image: &Value) -> impl Iterator<Item = &str> {
    image["RepoTags"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// The digest that a path states: `blobs/sha256/HEX`, `HEX.json`.
fn stated(path: &str) -> Option<Digest> {
    let last = path.rsplit('/').next()?;
    let hex = last.strip_suffix(".json").unwrap_or(last);
    format!("sha256:{}", hex.strip_prefix("sha256:").unwrap_or(hex)).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_state_digests() {
        let hex = "0123456789abcdef".repeat(4);
        let table = [
            (format!("blobs/sha256/{hex}"), true),
            (format!("{hex}.json"), true),
            (format!("sha256:{hex}"), true),
            (format!("{hex}/layer.tar"), false),
            (format!("{}.json", &hex[1..]), false),
            ("config.json".to_owned(), false),
            (String::new(), false),
        ];
        for (path, is_stated) in table {
            let digest = stated(&path).map(|digest| digest.to_string());
            assert_eq!(digest, is_stated.then(|| format!("sha256:{hex}")), "{path}");
        }
    }
}
