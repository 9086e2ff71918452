//! Where a key is kept, as a URI.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::OfflineKey;
use crate::error::Result;

/// Where a key is kept.
#[derive(Clone, PartialEq, Eq)]
pub enum KeyUri {
    /// `file:PATH`: an Ed25519 private key as PKCS#8, PEM or DER. A relative path starts at the project file's folder.
    File(PathBuf),
    /// `env:NAME`: the same PEM in an environment variable, for CI secrets.
    Env(String),
    /// `awskms:///ARN`: a key in AWS KMS (cargo feature `aws-kms`).
    AwsKms(KmsArn),
    /// `pkcs11:…`: a key on a PKCS#11 token (RFC 7512; cargo feature `pkcs11`).
    Pkcs11(TokenUri),
    /// `offline:NAME`: a key that is never on this machine; a ceremony collects its signatures.
    Offline(OfflineKey),
}

/// The ARN of a key or an alias in AWS KMS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KmsArn {
    /// The whole ARN.
    pub text: String,
    /// The region in it.
    pub region: String,
}

/// What a `pkcs11:` URI says (RFC 7512). Every attribute that is given has to fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenUri {
    text: String,
    /// The token's label.
    pub token: Option<String>,
    /// The token's serial number.
    pub serial: Option<String>,
    /// The token's manufacturer.
    pub manufacturer: Option<String>,
    /// The token's model.
    pub model: Option<String>,
    /// The slot it is in.
    pub slot: Option<u64>,
    /// The key's label.
    pub object: Option<String>,
    /// The key's id.
    pub id: Option<Vec<u8>>,
    /// The PKCS#11 module; else `SEALIFT_PKCS11_MODULE` names it.
    pub module: Option<PathBuf>,
    /// A file that holds the PIN; else it is asked for.
    pub pin_file: Option<PathBuf>,
}

const KNOWN: &str = "known are file:PATH, env:NAME, awskms:///ARN, pkcs11:token=NAME;object=NAME and offline:NAME";

impl FromStr for KeyUri {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(KeyUri::File(path.into())),
            Some(("env", name)) if !name.is_empty() && !name.contains('=') => Ok(KeyUri::Env(name.into())),
            Some(("awskms", rest)) => kms(rest).map(KeyUri::AwsKms),
            Some(("pkcs11", rest)) => token(rest).map(KeyUri::Pkcs11),
            Some(("offline", name)) => name.parse().map(KeyUri::Offline),
            Some((scheme @ ("file" | "env"), _)) => Err(format!("key URI `{scheme}:` names nothing; {KNOWN}")),
            // A URI that is mistaken may be a pasted secret: it is not repeated.
            Some((scheme, _)) if scheme.len() <= 12 && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                Err(format!("key URI scheme `{scheme}:` is not known; {KNOWN}"))
            }
            _ => Err(format!("this is no key URI; {KNOWN}")),
        }
    }
}

fn kms(rest: &str) -> Result<KmsArn, String> {
    let fault = "a key in AWS KMS is named by its ARN: awskms:///arn:aws:kms:REGION:ACCOUNT:key/ID";
    let text = rest.strip_prefix("///").ok_or(fault)?;
    let parts: Vec<_> = text.splitn(6, ':').collect();
    match parts[..] {
        ["arn", partition, "kms", region, account, resource]
            if partition.starts_with("aws")
                && !region.is_empty()
                && !account.is_empty()
                && (resource.starts_with("key/") || resource.starts_with("alias/")) =>
        {
            Ok(KmsArn { text: text.to_owned(), region: region.to_owned() })
        }
        _ => Err(fault.into()),
    }
}

fn token(rest: &str) -> Result<TokenUri, String> {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut uri = TokenUri { text: format!("pkcs11:{rest}"), ..TokenUri::default() };
    for (attribute, separator) in path.split(';').map(|it| (it, ';')).chain(query.split('&').map(|it| (it, '&'))) {
        if attribute.is_empty() {
            continue;
        }
        let (name, value) = attribute.split_once('=').ok_or("pkcs11: URI: an attribute without `=`")?;
        let bytes = unescape(value).ok_or_else(|| format!("pkcs11: URI: `{name}` is not percent-encoded text"))?;
        let words = || String::from_utf8(bytes.clone()).map_err(|_| format!("pkcs11: URI: `{name}` is not UTF-8 text"));
        match (separator, name) {
            (';', "token") => uri.token = Some(words()?),
            (';', "serial") => uri.serial = Some(words()?),
            (';', "manufacturer") => uri.manufacturer = Some(words()?),
            (';', "model") => uri.model = Some(words()?),
            (';', "object") => uri.object = Some(words()?),
            (';', "id") => uri.id = Some(bytes),
            (';', "slot-id") => uri.slot = Some(words()?.parse().map_err(|_| "pkcs11: URI: `slot-id` is no number")?),
            (';', "type") if bytes == b"private" => {}
            (';', "type") => return Err("pkcs11: URI: a signing key has `type=private`".into()),
            ('&', "module-path") => uri.module = Some(words()?.into()),
            ('&', "pin-source") => {
                let source = words()?;
                let path = source.strip_prefix("file:").unwrap_or(&source);
                if path.starts_with('|') {
                    return Err("pkcs11: URI: `pin-source` is a file here, not a program".into());
                }
                uri.pin_file = Some(path.strip_prefix("//").unwrap_or(path).into());
            }
            ('&', "pin-value") => {
                return Err("pkcs11: URI: a PIN in a URI can be read by everyone who sees the command or the project \
                            file; use `pin-source=file:PATH`, --passphrase-fd, or the terminal"
                    .into());
            }
            _ => return Err(format!("pkcs11: URI: the attribute `{name}` is not known here")),
        }
    }
    if uri.object.is_none() && uri.id.is_none() {
        return Err("pkcs11: URI: name the key by `object=LABEL` or `id=%01`".into());
    }
    Ok(uri)
}

/// Percent-encoded bytes.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                bytes.push(hex::decode([*high, *low]).ok()?[0]);
                tail
            }
            (b'%', _) => return None,
            (byte, tail) => {
                bytes.push(*byte);
                tail
            }
        };
    }
    Some(bytes)
}

impl fmt::Display for KeyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyUri::File(path) => write!(f, "file:{}", path.display()),
            KeyUri::Env(name) => write!(f, "env:{name}"),
            KeyUri::AwsKms(arn) => write!(f, "awskms:///{}", arn.text),
            KeyUri::Pkcs11(token) => write!(f, "{token}"),
            KeyUri::Offline(key) => write!(f, "{key}"),
        }
    }
}

impl fmt::Display for TokenUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for KeyUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> serde::Deserialize<'de> for KeyUri {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl serde::Serialize for KeyUri {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<KeyUri, String> {
        text.parse()
    }

    #[test]
    fn token_uris_are_read_as_rfc_7512_writes_them() {
        let Ok(KeyUri::Pkcs11(uri)) = parsed(
            "pkcs11:token=Officer%201;object=root;id=%01%ff;type=private?module-path=/usr/lib/x.so&pin-source=file:/run/pin",
        ) else {
            panic!("refused")
        };
        assert_eq!((uri.token.as_deref(), uri.object.as_deref()), (Some("Officer 1"), Some("root")));
        assert_eq!(uri.id.as_deref(), Some(&[1, 255][..]));
        assert_eq!(uri.module, Some("/usr/lib/x.so".into()));
        assert_eq!(uri.pin_file, Some("/run/pin".into()));
        for wrong in [
            "pkcs11:token=a",
            "pkcs11:object=a;type=cert",
            "pkcs11:object=%2",
            "pkcs11:object=%zz",
            "pkcs11:object=a;colour=red",
            "pkcs11:object=a?pin-source=|cat",
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_pin_in_a_uri_is_refused_and_not_repeated() {
        let refused = parsed("pkcs11:object=a?pin-value=1234567").unwrap_err();
        assert!(refused.contains("PIN in a URI") && !refused.contains("1234567"), "{refused}");
    }

    #[test]
    fn a_kms_key_is_named_by_its_whole_arn() {
        let arn = "awskms:///arn:aws:kms:eu-west-1:111122223333:key/12345678-1234-1234-1234-123456789012";
        let Ok(KeyUri::AwsKms(read)) = parsed(arn) else { panic!("refused") };
        assert_eq!(read.region, "eu-west-1");
        assert_eq!(KeyUri::AwsKms(read).to_string(), arn);
        for wrong in
            ["awskms:key", "awskms:///key-id", "awskms:///arn:aws:s3:::bucket", "awskms://host/arn:aws:kms:r:a:key/1"]
        {
            assert!(parsed(wrong).unwrap_err().contains("ARN"), "{wrong}");
        }
    }
}
