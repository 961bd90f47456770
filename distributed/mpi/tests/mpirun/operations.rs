//! The operations of processes: sums, agreement, and frames of all sizes.

use std::sync::Arc;
use std::time::Duration;

use rekindle::learner::{Collective, Fault};
use rekindle_mpi::Transport;
use rekindle_mpi::engine::{BUCKET, Communicator, MpiCollective, MpiTransport, World};
use rekindle_mpi::frame::{Frame, Kind};

use crate::job::{folder, in_processes};

/// Not a test by itself: a process of the test below.
#[test]
fn operate_in_a_process() {
    let Some(_) = folder() else { return };
    let world = World::initialize(Duration::from_secs(60)).unwrap();
    assert!(World::initialize(Duration::from_secs(1)).is_err());
    let communicator = world.communicator();
    sums(communicator);
    mismatches(communicator);
    groups(communicator);
    frames(communicator);
    world.finalize().unwrap();
}

fn member(communicator: &Communicator) -> MpiCollective {
    MpiCollective::new(communicator.duplicate().unwrap())
}

/// Whole numbers, whose sums are exact in any order.
fn sums(communicator: &Communicator) {
    let (rank, size) = (communicator.rank(), communicator.size());
    let mut member = member(communicator);
    assert_eq!((member.rank(), member.size()), (rank, size));
    for length in [0, 1, 7, BUCKET - 1, BUCKET, BUCKET + 1, 2 * BUCKET + 3] {
        let number = |rank: usize, i: usize| ((rank + 1) * (i % 1000)) as f32;
        let mut numbers: Vec<f32> = (0..length).map(|i| number(rank, i)).collect();
        member.all_reduce_sum(&mut numbers).unwrap();
        let wrong = numbers
            .iter()
            .enumerate()
            .find(|(i, sum)| **sum != (0..size).map(|rank| number(rank, *i)).sum::<f32>());
        assert_eq!(wrong, None, "{length}");
    }
    assert_eq!(member.agree_max([4, 9, 2, 0][rank]), Ok(if size > 1 { 9 } else { 4 }));
    for root in 0..size {
        let mut bytes = vec![rank as u8; 1000];
        member.broadcast(&mut bytes, root).unwrap();
        assert_eq!(bytes, vec![root as u8; 1000]);
    }
    assert!(matches!(member.rebuild(), Err(Fault::Fatal(_))));
}

/// Operations that differ are errors on all members, and the next ones work.
fn mismatches(communicator: &Communicator) {
    let (rank, size) = (communicator.rank(), communicator.size());
    if size == 1 {
        return;
    }
    let mut member = member(communicator);
    let lengths = member.all_reduce_sum(&mut vec![1.0; 3 + rank]);
    let kinds = match rank {
        0 => member.agree_max(1).map(drop),
        _ => member.all_reduce_sum(&mut []),
    };
    for outcome in [lengths, kinds] {
        let message = outcome.unwrap_err().to_string();
        assert!(message.contains("different operations"), "{message}");
    }
    let mut numbers = [1.0];
    member.all_reduce_sum(&mut numbers).unwrap();
    assert_eq!(numbers, [size as f32]);
}

/// A group of the first two processes alone, whose messages are its own.
fn groups(communicator: &Communicator) {
    let rank = communicator.rank();
    let group = communicator.subgroup(rank < 2).unwrap();
    assert_eq!(group.is_some(), rank < 2);
    let Some(group) = group else { return };
    assert_eq!((group.rank(), group.size()), (rank, communicator.size().min(2)));
    let mut numbers = [1.0];
    member(&group).all_reduce_sum(&mut numbers).unwrap();
    assert_eq!(numbers, [group.size() as f32]);
}

/// Frames between the first process and all others, and to all at once; the largest is sent in parts.
fn frames(communicator: &Communicator) {
    let rank = communicator.rank();
    let of = |length: usize| Frame::new(Kind::Batch, (0..length).map(|i| i as u8).collect());
    let lengths = [0, 1, 100_000, (1 << 26) - 44, (1 << 26) + 5];
    let group = communicator.duplicate().unwrap();
    let mut transport = MpiTransport::start(communicator.duplicate().unwrap(), 1).unwrap();
    assert_eq!(transport.len(), if rank == 0 { communicator.size() - 1 } else { 1 });
    for length in lengths {
        let frame = of(length).weights_version(length as u64);
        match rank {
            0 => {
                group.broadcast(&frame).unwrap();
                let bytes = Arc::new(frame.to_bytes());
                for peer in 0..transport.len() {
                    transport.send(peer, bytes.clone()).unwrap();
                }
                let mut answered = vec![0; transport.len()];
                for _ in 0..transport.len() {
                    let (peer, found) =
                        transport.receive(Duration::from_secs(60)).unwrap().unwrap();
                    assert_eq!(found, of(peer + 1).weights_version(length as u64));
                    answered[peer] += 1;
                }
                assert!(answered.iter().all(|answers| *answers == 1));
            }
            _ => {
                assert!(group.receive_broadcast(0).unwrap() == frame);
                let (peer, found) = transport.receive(Duration::from_secs(60)).unwrap().unwrap();
                assert!(peer == 0 && found == frame, "{length}");
                let answer = of(rank).weights_version(length as u64);
                transport.send(0, Arc::new(answer.to_bytes())).unwrap();
            }
        }
    }
    // All answers have arrived.
    match rank {
        0 => group.broadcast(&of(1)).unwrap(),
        _ => drop(group.receive_broadcast(0).unwrap()),
    }
    // Bytes that are no frame are an error where they arrive.
    if rank == 1 {
        transport
            .send(0, Arc::new(b"no frame, but longer than the header of one".to_vec()))
            .unwrap();
        transport.send(0, Arc::new(vec![0; 100])).unwrap();
        let mut damaged = of(1000).to_bytes();
        damaged[500] ^= 1;
        transport.send(0, Arc::new(damaged)).unwrap();
    } else if rank == 0 && communicator.size() > 1 {
        for part in ["cut off", "no frame", "checksum of a frame's body"] {
            let error = transport.receive(Duration::from_secs(60)).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}

#[test]
#[ignore = "needs MPI"]
fn sums_agreement_and_frames_work_in_1_2_and_4_processes() {
    let folder = tempfile::tempdir().unwrap();
    for processes in [1, 2, 4] {
        in_processes(processes, "operations::operate_in_a_process", folder.path()).end().ok();
    }
}
