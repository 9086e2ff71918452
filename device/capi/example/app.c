/* The application: confirms itself when it is on trial, and takes updates over its UART (the protocol of
   device/bare-metal/src/link.rs). */
#include "board.h"

#ifdef RELEASE_1_1
#define NAME "app: weather station 1.1"
#else
#define NAME "app: weather station 1.0"
#endif

static uint8_t scratch[SCRATCH];
static uint8_t bundle[4096];
static uint64_t memory[(32u * 1024) / 8];

static uint8_t receive(void) {
  while (!(REGISTER(0x40004004) & 2)) {
  }
  return (uint8_t)REGISTER(0x40004000);
}

/* Asks for bytes; returns how many came. */
static uint32_t ask(uint32_t from, uint32_t most, uint8_t *room) {
  text(" ");
  number(from);
  text(" ");
  number(most > 256 ? 256 : most);
  line("");
  uint32_t count = receive() + 1u;
  for (uint32_t at = 0; at < count; at++) {
    uint8_t byte = receive();
    if (at < most) room[at] = byte;
  }
  return count < most ? count : most;
}

static int32_t update(const SealiftBooted *booted, const uint8_t target[32], uint32_t length) {
  SealiftDevice dev = device();
  if (length > sizeof bundle || sealift_update_memory() > sizeof memory) return 705;
  for (uint32_t have = 0; have < length;) {
    text("?bundle");
    have += ask(have, length - have, bundle + have);
  }
  uint8_t *update = (uint8_t *)memory;
  int32_t code = sealift_update_begin(update, &dev, booted->slot, (const uint8_t(*)[32])target, bundle, length,
                                      SEALIFT_NO_TIME, scratch, sizeof scratch);
  if (code != 0) return code;
  text("app: verified; installs ");
  for (;;) {
    uint8_t payload[32], piece[256];
    uint32_t offset, left;
    code = sealift_update_wants(update, &payload, &offset, &left);
    if (code != 0) return code;
    if (offset == 0) {
      number(left);
      line(" bytes");
    }
    text("?payload ");
    for (unsigned at = 0; at < 32; at++) {
      send("0123456789abcdef"[payload[at] >> 4]);
      send("0123456789abcdef"[payload[at] & 15]);
    }
    code = sealift_update_push(update, piece, ask(offset, left, piece));
    if (code == SEALIFT_DONE) return sealift_update_finish(update, scratch, sizeof scratch);
    if (code != SEALIFT_MORE) return code;
  }
}

static int digit(char byte) {
  return byte >= '0' && byte <= '9' ? byte - '0' : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* `update <target digest> <bundle length>` */
static int parse(const char *command, uint8_t target[32], uint32_t *length) {
  const char *word = "update ";
  while (*word)
    if (*command++ != *word++) return 0;
  for (unsigned at = 0; at < 32; at++) {
    int high = digit(*command++), low = high < 0 ? -1 : digit(*command++);
    if (low < 0) return 0;
    target[at] = (uint8_t)(high << 4 | low);
  }
  if (*command++ != ' ') return 0;
  for (*length = 0; *command >= '0' && *command <= '9';) *length = *length * 10 + (uint32_t)(*command++ - '0');
  return *command == 0;
}

int main(void) {
  uart_start();
  line(NAME);
#ifdef FAULT_HANG
  for (;;) {
  }
#endif
  if (HANDOVER->magic != HANDOVER_MAGIC) reset();
  SealiftBooted booted = *(SealiftBooted *)&HANDOVER->booted;
  SealiftDevice dev = device();
  if (booted.trial) {
    int32_t code = sealift_confirm(&dev, booted.slot, scratch, sizeof scratch);
    if (code == 0) {
      watchdog(0);
      line("app: confirmed");
    }
  }
  uint64_t counter = 0;
  sealift_security_counter(&dev, &counter);
  text(booted.slot == SEALIFT_SLOT_A ? "app: slot a, version " : "app: slot b, version ");
  version(booted.version);
  text(", security counter ");
  number(counter);
  line("");
  for (;;) {
    line("app: ready");
    char command[96];
    unsigned length = 0;
    for (char byte = (char)receive(); byte != '\n'; byte = (char)receive())
      if (length < sizeof command - 1) command[length++] = byte;
    command[length] = 0;
    uint8_t target[32];
    uint32_t bundle_length;
    if (command[0] == 'r') reset();
    if (!parse(command, target, &bundle_length)) {
      line("app: commands are `update DIGEST LENGTH` and `reset`");
      continue;
    }
    int32_t code = update(&booted, target, bundle_length);
    /* Once more, from the start, if what an interrupted update left in the slot was of no use. */
    if (code == SEALIFT_AGAIN) code = update(&booted, target, bundle_length);
    if (code == 0) {
      line("app: installed; resetting into the trial");
      reset();
    }
    text("app: refused: SL-");
    number((uint64_t)code);
    line("");
  }
}
