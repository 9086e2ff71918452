//! Public keys of TUF metadata (specification 1.0.34, section 4.2): what they are, and whether a signature of theirs holds.

use sealift_manifests::{Digest, Fault, sha256};
use sealift_verifier::trust::format::VerificationKey;

use crate::error::Malformed;
use crate::json::Node;

/// How the key ids of a repository are treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyIds {
    /// Recomputed: the SHA-256 of the key's canonical JSON, as the specification requires. A file that lists a key under
    /// another id is refused.
    #[default]
    Recomputed,
    /// Opaque names, for repositories that follow TAP 12. What a key is called never decides anything here: thresholds
    /// count public keys under either rule.
    Opaque,
}

/// A public key that signatures can be checked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PublicKey {
    /// `ed25519`: the 32 bytes of RFC 8032.
    Ed25519(sealift_manifests::PublicKey),
    /// `ecdsa-sha2-nistp256`: the uncompressed point, `04 x y`.
    #[cfg(feature = "ecdsa-p256")]
    EcdsaP256([u8; 65]),
    /// `rsassa-pss-sha256`: the `RSAPublicKey` of RFC 8017, and the key's fingerprint.
    #[cfg(feature = "rsa-pss")]
    RsaPss(Vec<u8>, Digest),
}

/// A key as a role lists it: the public key, and the id under which its signatures stand.
#[derive(Clone, Debug)]
pub struct Key {
    pub(crate) id: String,
    pub(crate) public: PublicKey,
}

impl PublicKey {
    /// Reads a key. `None` is a key of a kind that this build does not know, or whose public part is no key: it is no error
    /// of the file, and counts for nothing.
    pub(crate) fn read(node: &Node<'_>) -> Result<Option<Self>, Malformed> {
        let keytype = node.required("keytype")?.text()?;
        let scheme = node.required("scheme")?.text()?;
        let public = node.required("keyval")?.required("public")?.text()?;
        Ok(match (keytype, scheme) {
            ("ed25519", "ed25519") => hex::decode(public)
                .ok()
                .and_then(|key| key.try_into().ok())
                .map(|key| PublicKey::Ed25519(sealift_manifests::PublicKey(key))),
            // The second name of the type is what go-tuf and early sigstore roots wrote.
            #[cfg(feature = "ecdsa-p256")]
            ("ecdsa" | "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256") => ecdsa_point(public).map(PublicKey::EcdsaP256),
            #[cfg(feature = "rsa-pss")]
            ("rsa", "rsassa-pss-sha256") => rsa_key(public),
            _ => None,
        })
    }

    /// The COSE key thumbprint (RFC 9679): a function of the public key alone, the same for a key whatever file, id or
    /// text form it comes in, and the same as in the device encoding.
    fn fingerprint(&self) -> Digest {
        match self {
            PublicKey::Ed25519(key) => key.id(),
            #[cfg(feature = "ecdsa-p256")]
            PublicKey::EcdsaP256(point) => {
                // {1: 2 (kty EC2), -1: 1 (crv P-256), -2: x, -3: y}
                let (x, y) = point[1..].split_at(32);
                sha256(&[&[0xa4, 0x01, 0x02, 0x20, 0x01, 0x21, 0x58, 0x20], x, &[0x22, 0x58, 0x20], y].concat())
            }
            #[cfg(feature = "rsa-pss")]
            PublicKey::RsaPss(_, fingerprint) => *fingerprint,
        }
    }
}

impl VerificationKey for Key {
    fn fingerprint(&self) -> Digest {
        self.public.fingerprint()
    }

    fn verifies(&self, message: &[&[u8]], signature: &[u8]) -> bool {
        match &self.public {
            // The device's own predicate, so that host and device never disagree.
            PublicKey::Ed25519(key) => signature
                .try_into()
                .is_ok_and(|signature| sealift_verifier::ed25519::verify(&key.0, message, signature)),
            #[cfg(feature = "ecdsa-p256")]
            PublicKey::EcdsaP256(point) => {
                ring::signature::UnparsedPublicKey::new(&ring::signature::ECDSA_P256_SHA256_ASN1, point)
                    .verify(&message.concat(), signature)
                    .is_ok()
            }
            #[cfg(feature = "rsa-pss")]
            PublicKey::RsaPss(key, _) => {
                ring::signature::UnparsedPublicKey::new(&ring::signature::RSA_PSS_2048_8192_SHA256, key)
                    .verify(&message.concat(), signature)
                    .is_ok()
            }
        }
    }
}

/// The id that the specification gives a key: the SHA-256 of its canonical form, in hex.
pub(crate) fn key_id(node: &Node<'_>) -> String {
    sha256(&node.json().canonical()).to_string()
}

/// Refuses a key that is listed under an id that is not its own, where ids are recomputed.
pub(crate) fn check_key_id(id: &str, node: &Node<'_>, policy: KeyIds) -> Result<(), Malformed> {
    if policy == KeyIds::Opaque || id == key_id(node) {
        return Ok(());
    }
    let what = format!(
        "this key's id is {}: the file lists it under another (for a repository whose key ids are opaque, say so in the \
         client's configuration)",
        key_id(node)
    );
    Err(node.fault(Fault::BadValue, what))
}

#[cfg(feature = "ecdsa-p256")]
fn ecdsa_point(public: &str) -> Option<[u8; 65]> {
    use spki::der::Decode as _;
    use spki::der::asn1::ObjectIdentifier;
    const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
    const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");

    let point = if public.trim_start().starts_with("-----") {
        let (label, der) = spki::der::Document::from_pem(public.trim()).ok()?;
        let info = spki::SubjectPublicKeyInfoRef::from_der(der.as_bytes()).ok()?;
        info.algorithm.assert_algorithm_oid(EC_PUBLIC_KEY).ok()?;
        let p256 = label == "PUBLIC KEY" && info.algorithm.parameters_oid().ok()? == P256;
        p256.then(|| info.subject_public_key.as_bytes().map(<[u8]>::to_vec))??
    } else {
        // What early sigstore roots wrote: the point alone.
        hex::decode(public).ok()?
    };
    // That it is on the curve is checked where a signature is.
    point.try_into().ok().filter(|point: &[u8; 65]| point[0] == 0x04)
}

#[cfg(feature = "rsa-pss")]
fn rsa_key(public: &str) -> Option<PublicKey> {
    use spki::der::Decode as _;
    use spki::der::asn1::ObjectIdentifier;
    const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

    let (label, der) = spki::der::Document::from_pem(public.trim()).ok()?;
    let key = match label {
        "PUBLIC KEY" => {
            let info = spki::SubjectPublicKeyInfoRef::from_der(der.as_bytes()).ok()?;
            info.algorithm.assert_algorithm_oid(RSA_ENCRYPTION).ok()?;
            info.subject_public_key.as_bytes()?.to_vec()
        }
        "RSA PUBLIC KEY" => der.as_bytes().to_vec(),
        _ => return None,
    };
    let parts = pkcs1::RsaPublicKeyRef::from_der(&key).ok()?;
    // {1: 3 (kty RSA), -1: n, -2: e}
    let mut thumbprint = vec![0xa3, 0x01, 0x03, 0x20];
    cbor_bytes(parts.modulus.as_bytes(), &mut thumbprint)?;
    thumbprint.push(0x21);
    cbor_bytes(parts.public_exponent.as_bytes(), &mut thumbprint)?;
    let fingerprint = sha256(&thumbprint);
    Some(PublicKey::RsaPss(key, fingerprint))
}

/// A CBOR byte string in its shortest form.
#[cfg(feature = "rsa-pss")]
fn cbor_bytes(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    match u16::try_from(bytes.len()).ok()? {
        length @ 0..24 => out.push(0x40 | length as u8),
        length @ 24..256 => out.extend([0x58, length as u8]),
        length => {
            out.push(0x59);
            out.extend(length.to_be_bytes());
        }
    }
    out.extend_from_slice(bytes);
    Some(())
}
