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
        // Other kinds of key have other fields here.
        let public = node.required("keyval")?.optional("public")?;
        let Some(public) = public.map(|public| public.text()).transpose()? else { return Ok(None) };
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

#[cfg(all(test, feature = "ecdsa-p256", feature = "rsa-pss"))]
mod tests {
    use super::*;
    use crate::json::Json;

    const EC_PEM: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEHZXQXRXSWbzt7UEJkB+M48VtO9Cp\nD2fR9wDELT8zBJxIOhETzO6jAWqAw1Qai0sJmlAsJJKIX70KOX6yd4wh2g==\n-----END PUBLIC KEY-----\n";
    const EC_POINT: &str = "041d95d05d15d259bceded4109901f8ce3c56d3bd0a90f67d1f700c42d3f33049c483a1113cceea3016a80c3541a8b4b099a502c2492885fbd0a397eb2778c21da";
    const EC_SIGNATURE: &str = "30440220765c35eb74837872aed4d1edcf209c1a54da7a9265004a0ccbcb884552d740c20220711c4690cb0eb08ce28e581bc8e093d9fc0dc8cfa28c31e3513c286cd48cfc96";
    const RSA_PEM: &str = "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAtgJXd3S+UzkuyrG7W8Rj\nTn/X2oNFQUI54mORByRgCj8LIxnHT9Tabyo9QGWR5DTsh/WH47XIjUaefROY0lh1\nf7gCBhOPgTpFjVpt3HMDuzYRM1lEQoxckfaiwWlUXiTUaiMrna2wOmF8cmVZPFeT\n434rUbWubPA+qoQ7l8Sv5A/1H3X8UJ4JWRCjkTn98HdknQm2tar4X08OoTotSeoC\nf3Z9QIrRpDyVfNfObjIS6GKEnqlzOpOwTLLoYf9cvNKlpDqwgPAXQ1XCupWJ0URG\n0n69CihSALEn+6Yr8e8Yb2nns+uhPJi7L71HTmPFJyGrcwi9G4xwWsLEOCgQM+Y1\nXQIDAQAB\n-----END PUBLIC KEY-----\n";
    const RSA_PKCS1_PEM: &str = "-----BEGIN RSA PUBLIC KEY-----\nMIIBCgKCAQEAtgJXd3S+UzkuyrG7W8RjTn/X2oNFQUI54mORByRgCj8LIxnHT9Ta\nbyo9QGWR5DTsh/WH47XIjUaefROY0lh1f7gCBhOPgTpFjVpt3HMDuzYRM1lEQoxc\nkfaiwWlUXiTUaiMrna2wOmF8cmVZPFeT434rUbWubPA+qoQ7l8Sv5A/1H3X8UJ4J\nWRCjkTn98HdknQm2tar4X08OoTotSeoCf3Z9QIrRpDyVfNfObjIS6GKEnqlzOpOw\nTLLoYf9cvNKlpDqwgPAXQ1XCupWJ0URG0n69CihSALEn+6Yr8e8Yb2nns+uhPJi7\nL71HTmPFJyGrcwi9G4xwWsLEOCgQM+Y1XQIDAQAB\n-----END RSA PUBLIC KEY-----\n";
    const RSA_SIGNATURE: &str = "49a99918cd9ce9a4520dc4fb0f182e198af764177cb2d7b75007021a13ae02626351f84987d8b0f9a8ded65979ce751f01cab5948b64484f26bc6a45c97d7776927deb6d79426472e6b6fc3ce28640550009592ddbbe975a4d19a295b9a2bb099bdbc55b4e6ed04125bdcc26b51d6fa8f2ea085a9c093ae43a98c32cdc402306089fac3c4aa6361e696d56c338647df63ccebc7da20a400ea60a7b2e91cbfa84357b8c54ed4be6d9ba92932e08c5cd0cea561e89ba4dca42ee93dfb126220fd12fe012f3eb1f9aa71ad3bf83a34e4f32c625b58602922f8c3b1b75af9f74cc6c627560d98f403d3ea365c04defd3ce2d1a1f3daf23fc608ba68f48abe26a3d55";
    const RSA_THUMBPRINT: &str = "64c7c1e0c6344d6a8f1a2925a5f1211ab32742185b67590359d073f9585ebd04";
    const RSA_1024_PEM: &str = "-----BEGIN PUBLIC KEY-----\nMIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDXc2Lx76GuXVSqQd3181Hbf9/Y\n//ERRI3jKiGjKr5KGfqlulRzJUELh3ehlqOtOiXP035SZbubRWzyUgh5I8vFA5uW\nGkOFl/11KGZ8RBzazMha+NTBbmnJRSWLqkpIUq9Ms/aqflX9yWqTZqiPwSudmuL0\n2Qt1wIqkGouyMq7KzQIDAQAB\n-----END PUBLIC KEY-----\n";
    const RSA_1024_SIGNATURE: &str = "d4ea919082f832c33201a6a7181698a2e395cd2a56922aa837749b4ce5fb42dcd830107b3b99944dd0a4ec305922bbcb7dbf7acc23efacaa22592ea3e8a6d4da24ef64a9b3eacc469bf8abf9ebc82258ad9f3c22fa64776ade4c079a217145b832f83f47e6b054280a8516275f2b60cde2bb78c3b28b008847bb03643c2ec4df";
    /// What the signatures are over. They were made with Python's `cryptography`; nobody has the private keys any more.
    const MESSAGE: &[&[u8]] = &[b"{\"a\"", b":1}"];

    fn key(keytype: &str, scheme: &str, public: &str) -> Option<Key> {
        let tree = serde_json::json!({"keytype": keytype, "scheme": scheme, "keyval": {"public": public}});
        let tree = Json::parse(tree.to_string().as_bytes()).unwrap();
        PublicKey::read(&Node::new(&tree, "key")).unwrap().map(|public| Key { id: String::new(), public })
    }

    fn ecdsa(public: &str) -> Option<Key> {
        key("ecdsa", "ecdsa-sha2-nistp256", public)
    }

    fn rsa(public: &str) -> Option<Key> {
        key("rsa", "rsassa-pss-sha256", public)
    }

    #[test]
    fn ecdsa_p256_signatures_of_another_implementation_hold_and_altered_ones_do_not() {
        let signature = hex::decode(EC_SIGNATURE).unwrap();
        let key = ecdsa(EC_PEM).unwrap();
        assert!(key.verifies(MESSAGE, &signature));
        assert!(!key.verifies(&[b"{\"a\":2}"], &signature));
        assert!(!key.verifies(MESSAGE, &[]));
        let mut longer = signature.clone();
        longer.push(0);
        assert!(!key.verifies(MESSAGE, &longer));
    }

    #[test]
    fn rsa_pss_signatures_of_another_implementation_hold_and_altered_ones_do_not() {
        let mut signature = hex::decode(RSA_SIGNATURE).unwrap();
        let key = rsa(RSA_PEM).unwrap();
        assert!(key.verifies(MESSAGE, &signature));
        signature[7] ^= 1;
        assert!(!key.verifies(MESSAGE, &signature));
    }

    #[test]
    fn an_rsa_key_below_2048_bits_verifies_nothing() {
        let key = rsa(RSA_1024_PEM).unwrap();
        assert!(!key.verifies(MESSAGE, &hex::decode(RSA_1024_SIGNATURE).unwrap()));
    }

    #[test]
    fn a_key_has_one_fingerprint_in_every_text_form() {
        let pem = ecdsa(EC_PEM).unwrap().fingerprint();
        assert_eq!(pem, ecdsa(EC_POINT).unwrap().fingerprint());
        assert_eq!(
            pem,
            key("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", &EC_POINT.to_uppercase()).unwrap().fingerprint()
        );
        assert_eq!(pem, ecdsa(&format!("{EC_PEM}\n\n")).unwrap().fingerprint());
        assert_eq!(rsa(RSA_PEM).unwrap().fingerprint(), rsa(RSA_PKCS1_PEM).unwrap().fingerprint());
        let ed = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let upper = key("ed25519", "ed25519", &ed.to_uppercase()).unwrap().fingerprint();
        assert_eq!(key("ed25519", "ed25519", ed).unwrap().fingerprint(), upper);
    }

    #[test]
    fn fingerprints_are_cose_key_thumbprints() {
        // RFC 9679, section 6.
        let rfc = "0465eda5a12577c2bae829437fe338701a10aaa375e1bb5b5de108de439c08551d\
                   1e52ed75701163f7f9e40ddf9f341b3dc9ba860af7e0ca7ca7e9eecd0084d19c";
        let thumbprint = "496bd8afadf307e5b08c64b0421bf9dc01528a344a43bda88fadd1669da253ec";
        assert_eq!(ecdsa(rfc).unwrap().fingerprint().to_string(), thumbprint);
        assert_eq!(rsa(RSA_PEM).unwrap().fingerprint().to_string(), RSA_THUMBPRINT);
    }

    #[test]
    fn a_key_of_an_unknown_kind_or_with_a_spoilt_public_part_counts_for_nothing_and_is_no_error() {
        let ed = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert!(key("rsa", "rsa-pkcs1v15-sha256", RSA_PEM).is_none());
        assert!(key("ed25519", "ed25519ph", ed).is_none());
        assert!(key("ecdsa", "ed25519", ed).is_none());
        assert!(key("ed25519", "ed25519", &ed[2..]).is_none());
        assert!(rsa(EC_PEM).is_none());
        let keyless =
            br#"{"keytype": "sigstore-oidc", "scheme": "Fulcio", "keyval": {"identity": "a", "issuer": "b"}}"#;
        assert_eq!(PublicKey::read(&Node::new(&Json::parse(keyless).unwrap(), "key")), Ok(None));
        assert!(ecdsa(RSA_PEM).is_none());
        assert!(ecdsa("02aa").is_none());
        assert!(ecdsa("-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----").is_none());
    }
}
