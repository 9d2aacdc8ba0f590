//! Platforms: which of an index's images is for which machine.

use oci_spec::image::Platform as Stated;
use std::fmt::{self, Display};
use std::str::FromStr;

/// `OS/ARCHITECTURE[/VARIANT]`, in the words of the OCI image specification (Go's GOOS, GOARCH).
#[derive(Clone, Debug, PartialEq)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

impl Platform {
    /// This machine's.
    pub fn here() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            "loongarch64" => "loong64",
            same => same,
        };
        Self { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: None }
    }

    /// A platform in the fields of an image's config.
    pub fn of_config(config: &serde_json::Value) -> Self {
        let field = |name: &str| config[name].as_str().unwrap_or_default().to_owned();
        let variant = Some(field("variant")).filter(|variant| !variant.is_empty());
        Self { os: field("os"), architecture: field("architecture"), variant }
    }

    /// Whether an image for `offered` is what was asked for. A variant that was not asked for
    /// does not matter, and arm64 has had its v8 from the start.
    pub fn takes(&self, offered: &Self) -> bool {
        let variant = |platform: &Self| match (&platform.variant, platform.architecture.as_str()) {
            (None, "arm64") => Some("v8".to_owned()),
            (variant, _) => variant.clone(),
        };
        self.os == offered.os
            && self.architecture == offered.architecture
            && (self.variant.is_none() || variant(self) == variant(offered))
    }

    /// Whether it is for any machine of its architecture.
    pub fn is_general(&self) -> bool {
        self.variant.is_none()
    }
}

impl From<&Stated> for Platform {
    fn from(stated: &Stated) -> Self {
        Self {
            os: stated.os().to_string(),
            architecture: stated.architecture().to_string(),
            variant: stated.variant().clone().filter(|variant| !variant.is_empty()),
        }
    }
}

impl FromStr for Platform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts[..] {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant.to_owned())),
            _ => return Err("is not OS/ARCHITECTURE[/VARIANT]".to_owned()),
        };
        Ok(Self { os: os.to_owned(), architecture: architecture.to_owned(), variant })
    }
}

impl Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(formatter, "/{variant}"))
    }
}
