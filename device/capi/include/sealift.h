// Sealift's verifier for firmware in C. Generated from device/capi/src; a test holds the two equal.
// Write it anew: SEALIFT_WRITE=1 cargo test -p xtask --test c_header

#ifndef SEALIFT_H
#define SEALIFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Bytes that a scratch buffer needs for every record that the format allows. A smaller one is refused (705) when a record is
// larger, before anything is changed.
#define SEALIFT_SCRATCH 5606

// Slot A.
#define SEALIFT_SLOT_A 0

// Slot B.
#define SEALIFT_SLOT_B 1

// The time is not known.
#define SEALIFT_NO_TIME 0

// More of the payload is wanted: sealift_update_wants says from where.
#define SEALIFT_MORE 0

// Every byte is there: call sealift_update_finish.
#define SEALIFT_DONE -1

// What an interrupted update had left can't be gone on from, and was dropped: call sealift_update_begin again.
#define SEALIFT_AGAIN -2

// A part of the flash: a slot, or the record store.
typedef struct {
  // Passed to each callback as it is.
  void *context;
  // Bytes of the part: whole sectors.
  uint32_t length;
  // Reads; 0 when it went well.
  int32_t (*read)(void *context, uint32_t offset, uint8_t *bytes, size_t length);
  // Writes whole words that are erased; 0 when they hold the bytes.
  int32_t (*write)(void *context, uint32_t offset, const uint8_t *bytes, size_t length);
  // Erases whole sectors from `from` up to `to`; 0 when they read as 0xff.
  int32_t (*erase)(void *context, uint32_t from, uint32_t to);
} SealiftFlash;

// A security counter: fuses, an RPMB. With both callbacks left out it is kept in the record store, as safe as the flash.
typedef struct {
  // Passed to each callback as it is.
  void *context;
  // Reads the counter; 0 when it went well.
  int32_t (*read)(void *context, uint64_t *value);
  // Raises the counter, which never goes down; 0 when it is raised for good.
  int32_t (*raise)(void *context, uint64_t to);
} SealiftCounter;

// A device. It, and everything it points to, must outlive each use of it.
typedef struct {
  // Id of the one repository that it listens to.
  uint8_t repository[16];
  // Its product id, ending in a zero byte.
  const char *product;
  // The component that is updated.
  const char *component;
  // Its hardware id.
  const char *hardware;
  // Slot A.
  SealiftFlash slot_a;
  // Slot B.
  SealiftFlash slot_b;
  // The record store: two halves of whole sectors, each of at least 19 KiB.
  SealiftFlash store;
  // The security counter.
  SealiftCounter counter;
} SealiftDevice;

// What a boot decided.
typedef struct {
  // The slot to run: SEALIFT_SLOT_A or SEALIFT_SLOT_B.
  uint32_t slot;
  // Whether it runs on trial: start the watchdog, and have it call sealift_confirm.
  bool trial;
  // Bytes of the image.
  uint32_t length;
  // SHA-256 of the image: check what you run against it, if it is a copy.
  uint8_t digest[32];
  // Version: major, minor, patch.
  uint32_t version[3];
} SealiftBooted;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Decides what runs, and records what must be recorded first. Run nothing else. Returns 0, or the number of the error.
//
// # Safety
// `device` and `booted` are valid; `scratch` has `length` bytes, best SEALIFT_SCRATCH.
int32_t sealift_boot(const SealiftDevice *device,
                     uint8_t *scratch,
                     size_t length,
                     SealiftBooted *booted);

// The image in `slot`, which runs on trial, found itself well. Where that slot is not on trial nothing happens.
//
// # Safety
// `device` is valid; `scratch` has `length` bytes.
int32_t sealift_confirm(const SealiftDevice *device,
                        uint32_t slot,
                        uint8_t *scratch,
                        size_t length);

// Whether these bytes are the image of this SHA-256: for a boot stage that runs a copy.
//
// # Safety
// `image` has `length` bytes; `digest` is valid.
bool sealift_is_image(const uint8_t *image, size_t length, const uint8_t (*digest)[32]);

// The security counter that holds: the raised one, or one that was confirmed and is still to be raised.
//
// # Safety
// `device` and `value` are valid.
int32_t sealift_security_counter(const SealiftDevice *device,
                                 uint64_t *value);

// At the factory: `slot` holds an image of `image_length` bytes; `root` is the root to trust.
//
// # Safety
// `device` is valid; `root`, `version` (three numbers) and `scratch` have the bytes that are said.
int32_t sealift_provision(const SealiftDevice *device,
                          uint32_t slot,
                          uint32_t image_length,
                          const uint32_t (*version)[3],
                          uint64_t security_counter,
                          const uint8_t *root,
                          size_t root_length,
                          uint8_t *scratch,
                          size_t length);

// Bytes of memory that an update needs, aligned to 8: about 27 KiB, most of it the delta decoder's.
size_t sealift_update_memory(void);

// Verifies a bundle and begins to install its target: the slot that does not run is written from now on.
//
// `running` is the slot that sealift_boot said, `time` seconds since 1970 or SEALIFT_NO_TIME. Returns 0, or the number of the
// error; nothing is changed then but what the trust state learnt from files that were accepted.
//
// # Safety
// `memory` has sealift_update_memory() bytes, aligned to 8; it, the bundle and whatever the device points to stay as they are
// until the update is finished or given up. `target` has 32 bytes, `scratch` has `length`.
int32_t sealift_update_begin(uint8_t *memory,
                             const SealiftDevice *device,
                             uint32_t running,
                             const uint8_t (*target)[32],
                             const uint8_t *bundle,
                             size_t bundle_length,
                             uint64_t time,
                             uint8_t *scratch,
                             size_t length);

// Says which bytes are wanted next: the payload of this SHA-256, from this offset on, up to this many.
//
// # Safety
// `memory` is that of an update that was begun; the others are valid, `payload` for 32 bytes.
int32_t sealift_update_wants(uint8_t *memory,
                             uint8_t (*payload)[32],
                             uint32_t *offset,
                             uint32_t *left);

// Takes bytes of the payload, from the wanted offset on, in pieces of any size. Returns SEALIFT_MORE, SEALIFT_DONE,
// SEALIFT_AGAIN, or the number of the error. When the link breaks, just stop: the next update of this target goes on from
// what the flash has.
//
// # Safety
// `memory` is that of an update that was begun; `piece` has `length` bytes.
int32_t sealift_update_push(uint8_t *memory,
                            const uint8_t *piece,
                            size_t length);

// Reads the whole slot back, and has the next boot try it. Reset the device after a 0. The update is over either way; after
// SEALIFT_AGAIN it is worth beginning again.
//
// # Safety
// `memory` is that of an update that was begun; `scratch` has `length` bytes.
int32_t sealift_update_finish(uint8_t *memory,
                              uint8_t *scratch,
                              size_t length);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SEALIFT_H */
