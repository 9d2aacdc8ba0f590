//! An image's config: what to run, as whom, where. OCI image specification, "Image Configuration".

use pk::{Attempt, Error, Result};
use serde_json::Value;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A config that is larger is no config.
const LIMIT: u64 = 4 << 20;

/// The parts of it that concern the start of a program.
#[derive(Debug, Default, PartialEq)]
pub struct ImageConfig {
    pub variables: Vec<String>,
    pub directory: Option<PathBuf>,
    pub user: Option<String>,
    /// Entrypoint and Cmd.
    pub command: Vec<OsString>,
}

impl ImageConfig {
    pub fn read(path: &Path) -> Result<Self> {
        let call = format!("--config {path:?}");
        let mut text = Vec::new();
        File::open(path)
            .and_then(|file| file.take(LIMIT + 1).read_to_end(&mut text))
            .attempt(format_args!("open({path:?})"))?;
        if text.len() as u64 > LIMIT {
            return Err(Error::new(call, "is larger than 4 MiB"));
        }
        Self::parse(&text).map_err(|reason| Error::new(call, reason))
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        let document: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let config = match &document["config"] {
            Value::Null if document.is_object() => return Ok(Self::default()),
            config if config.is_object() => config,
            _ => return Err("is no image config: \"config\" is not an object".to_owned()),
        };
        let words = |name: &str| -> Result<Vec<String>, String> {
            let wrong = || format!("is no image config: {name:?} is not a list of strings");
            match &config[name] {
                Value::Null => Ok(Vec::new()),
                Value::Array(words) => words
                    .iter()
                    .map(|word| word.as_str().map(str::to_owned).ok_or_else(wrong))
                    .collect(),
                _ => Err(wrong()),
            }
        };
        let word = |name: &str| match &config[name] {
            Value::Null => Ok(None),
            Value::String(word) => Ok(Some(word.clone()).filter(|word| !word.is_empty())),
            _ => Err(format!("is no image config: {name:?} is not a string")),
        };
        let mut command = words("Entrypoint")?;
        command.extend(words("Cmd")?);
        Ok(Self {
            variables: words("Env")?,
            directory: word("WorkingDir")?.map(PathBuf::from),
            user: word("User")?,
            command: command.into_iter().map(OsString::from).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_is_read_as_far_as_it_concerns_a_start() {
        let text = br#"{"architecture": "amd64", "config": {"Env": ["A=b"], "User": "app:tty",
            "WorkingDir": "/srv", "Entrypoint": ["/bin/sh", "-c"], "Cmd": ["id"]}}"#;
        let config = ImageConfig::parse(text).unwrap();
        assert_eq!(config.variables, ["A=b"]);
        assert_eq!(config.user.as_deref(), Some("app:tty"));
        assert_eq!(config.directory.as_deref(), Some(Path::new("/srv")));
        assert_eq!(config.command, ["/bin/sh", "-c", "id"]);
    }

    #[test]
    fn what_is_absent_or_empty_is_not_set() {
        let nothing = ImageConfig::default();
        for text in ["{}", r#"{"config": null}"#, r#"{"config": {"User": "", "Cmd": null}}"#] {
            assert_eq!(ImageConfig::parse(text.as_bytes()).unwrap(), nothing, "{text}");
        }
    }

    #[test]
    fn what_is_no_config_is_refused() {
        for text in [
            "",
            "[]",
            "1",
            r#"{"config": 1}"#,
            r#"{"config": {"Env": "A=b"}}"#,
            r#"{"config": {"Cmd": [1]}}"#,
            r#"{"config": {"User": 0}}"#,
        ] {
            assert!(ImageConfig::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
