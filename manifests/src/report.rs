//! The device's signed report: its own word on what it runs, as a tagged `COSE_Sign1` (RFC 9052, section 4.2).
//!
//! It is made with the key that the device enrolled. It is not remote attestation: who holds that key can say anything.

use crate::bounds::MAX_NAME;
use crate::cbor::{DecodeError, Fault, Reader};
use crate::key::{Digest, KeyId};
use crate::role::{MAX_FIELDS, RepositoryId};

/// Most bytes of an encoded report: its base64 must fit the 1,024 characters of an AWS job status detail.
pub const MAX_REPORT: usize = 768;

/// Longest thing name (AWS IoT: 128 characters).
const MAX_THING: usize = 128;
/// Longest job id (AWS IoT Jobs: 64 characters).
const MAX_JOB: usize = MAX_NAME;

/// What a device says of itself. It names the job execution it answers, so that it proves nothing in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report<'a> {
    /// The repository the device trusts.
    pub repository: RepositoryId,
    /// The thing it is.
    pub thing: &'a str,
    /// The job it answers.
    pub job: &'a str,
    /// The execution number of that job.
    pub execution: u64,
    /// How often the device has booted: rises with every report after a boot.
    pub boot_count: u64,
    /// SHA-256 of the image that runs.
    pub image: Digest,
    /// The device's security counter.
    pub security_counter: u64,
}

const VERSION: u8 = 1;
const REPOSITORY: u8 = 2;
const THING: u8 = 3;
const JOB: u8 = 4;
const EXECUTION: u8 = 5;
const BOOT_COUNT: u8 = 6;
const IMAGE: u8 = 7;
const SECURITY_COUNTER: u8 = 8;

const COSE_SIGN1: u64 = 18;
const PROTECTED: [u8; 3] = [0xa1, 0x01, 0x27];
const KEY_ID: u8 = 4;

/// A report as it was received: the signature is not checked yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedReport<'a> {
    /// The signed bytes: decode them once the signature holds.
    pub payload: &'a [u8],
    /// Which key is said to have signed.
    pub key_id: KeyId,
    /// Ed25519 signature over `["Signature1", h'a10127', h'', payload]`.
    pub signature: &'a [u8; 64],
}

impl<'a> SignedReport<'a> {
    /// Reads a signed report.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let reader = &mut Reader::new(bytes);
        if bytes.len() > MAX_REPORT {
            reader.refuse(Fault::TooLarge);
        }
        reader.tag(COSE_SIGN1);
        reader.array_of(4);
        reader.constant(&[0x43]);
        reader.constant(&PROTECTED);
        let mut map = reader.map(1);
        map.required(reader, KEY_ID);
        let key_id = Digest::decode(reader);
        map.finish(reader);
        let payload = reader.bytes(MAX_REPORT);
        let at = reader.position();
        let Ok(signature) = reader.bytes(64).try_into() else {
            reader.refuse_at(Fault::BadValue, at);
            return reader.checked(SignedReport { payload, key_id, signature: &[0; 64] });
        };
        reader.done(SignedReport { payload, key_id, signature })
    }

    /// Writes a signed report.
    #[cfg(feature = "alloc")]
    pub fn encode(&self) -> alloc::vec::Vec<u8> {
        let mut writer = crate::cbor::Writer::new();
        writer.tag(COSE_SIGN1).array(4).bytes(&PROTECTED).map(1).key(KEY_ID).bytes(&self.key_id.0);
        writer.bytes(self.payload).bytes(self.signature);
        writer.into_bytes()
    }

    /// What is signed when `payload` is signed: the `Sig_structure` of RFC 9052, section 4.4.
    #[cfg(feature = "alloc")]
    pub fn sig_structure(payload: &[u8]) -> alloc::vec::Vec<u8> {
        let mut writer = crate::cbor::Writer::new();
        writer.array(4).text("Signature1").bytes(&PROTECTED).bytes(&[]).bytes(payload);
        writer.into_bytes()
    }
}

impl<'a> Report<'a> {
    /// Reads a report's payload.
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let reader = &mut Reader::new(payload);
        let mut map = reader.map(MAX_FIELDS);
        map.required(reader, VERSION);
        if reader.uint() != crate::FORMAT_VERSION {
            reader.refuse(Fault::UnknownVersion);
        }
        map.required(reader, REPOSITORY);
        let repository = RepositoryId(reader.byte_array());
        map.required(reader, THING);
        let thing = id(reader, MAX_THING);
        map.required(reader, JOB);
        let job = id(reader, MAX_JOB);
        map.required(reader, EXECUTION);
        let execution = reader.uint();
        map.required(reader, BOOT_COUNT);
        let boot_count = reader.uint();
        map.required(reader, IMAGE);
        let image = Digest::decode(reader);
        map.required(reader, SECURITY_COUNTER);
        let security_counter = reader.uint();
        map.finish(reader);
        reader.done(Report { repository, thing, job, execution, boot_count, image, security_counter })
    }

    /// Writes a report's payload.
    #[cfg(feature = "alloc")]
    pub fn encode(&self) -> alloc::vec::Vec<u8> {
        let mut writer = crate::cbor::Writer::new();
        writer.map(8).key(VERSION).uint(crate::FORMAT_VERSION);
        writer.key(REPOSITORY).bytes(&self.repository.0);
        writer.key(THING).text(self.thing);
        writer.key(JOB).text(self.job);
        writer.key(EXECUTION).uint(self.execution);
        writer.key(BOOT_COUNT).uint(self.boot_count);
        writer.key(IMAGE).bytes(&self.image.0);
        writer.key(SECURITY_COUNTER).uint(self.security_counter);
        writer.into_bytes()
    }
}

/// An identifier of AWS IoT: opaque here, but never empty.
fn id<'a>(reader: &mut Reader<'a>, max: usize) -> &'a str {
    let text = reader.text(max);
    if text.is_empty() {
        reader.refuse(Fault::Empty);
    }
    text
}
