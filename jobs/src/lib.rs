//! What crosses AWS IoT Jobs, shared by server and device.
