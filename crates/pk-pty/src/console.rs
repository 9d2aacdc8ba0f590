//! The socket over which the master of PROG's terminal comes: `unix(7)`, `SCM_RIGHTS`.

use pk::{Attempt, Error, Result};
use rustix::io::IoSliceMut;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
    recvmsg, socketpair,
};
use rustix::termios::isatty;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

/// Its two ends.
pub struct Sockets {
    pub ours: OwnedFd,
    pub theirs: OwnedFd,
}

impl Sockets {
    pub fn pair() -> rustix::io::Result<Self> {
        let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
        let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, flags, None)?;
        Ok(Self { ours, theirs })
    }
}

/// The master that was sent, or nothing where all who had the other end are gone.
pub fn receive(socket: impl AsFd) -> Result<Option<OwnedFd>> {
    let call = "recvmsg(SCM_RIGHTS)";
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, flags).attempt(call)?;
    let descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let master = descriptors.flatten().next();
    match master {
        Some(other) if !isatty(&other) => Err(Error::new(call, "what was sent is no terminal")),
        master => Ok(master),
    }
}
