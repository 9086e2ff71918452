//! The decoder memory of a product, by the name of its class: "16KiB", "24KiB", "64KiB", "host".

use std::fmt;
use std::str::FromStr;

use sealift_manifests::delta_format::RamClass;
use serde::{Deserialize, Deserializer};

/// How much RAM a device has for decoding payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecoderRam(pub RamClass);

impl FromStr for DecoderRam {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // "24 KiB" is what a person may write.
        let class = RamClass::from_name(&text.replace(' ', ""));
        let known = || RamClass::ALL.map(RamClass::name).join(", ");
        class.map(DecoderRam).ok_or_else(|| format!("`{text}` is no decoder class; known are {}", known()))
    }
}

impl fmt::Display for DecoderRam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

impl<'de> Deserialize<'de> for DecoderRam {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
