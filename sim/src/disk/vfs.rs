//! The disk as SQLite sees it: a table of C functions over [`Handle`].
//!
//! This is the only `unsafe` code of the project, and it decides nothing: each function turns C arguments into a call
//! of safe code and the answer into a result code. What SQLite promises us, and the comments below lean on, is in its
//! documentation of `sqlite3_vfs` and `sqlite3_io_methods`:
//!
//! 1. the `sqlite3_file` given to `xOpen` has `szOsFile` writable bytes, aligned for a pointer, and is given unmoved to
//!    every method afterwards; no method is called once `xClose` has returned or when `xOpen` left `pMethods` null;
//! 2. calls on one file do not overlap;
//! 3. names are NUL-terminated, buffers are as long as the length beside them says;
//! 4. the `sqlite3_vfs` is the registered one, which lives until it is unregistered.

#![expect(
    unsafe_code,
    reason = "a SQLite VFS is a table of C functions; nothing else in the project needs unsafe code"
)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::size_of;
use std::ptr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use rand::Rng;
use rusqlite::ffi;

use super::Inner;
use super::handle::{Handle, OpenMode, SlotRequest};
use super::image::directory_of;
use super::lock::LockLevel;
use super::state::{Failure, Operation};
use crate::sync::guard;

/// What SQLite is told about the unit of writing: the default of a real disk.
const SQLITE_SECTOR: c_int = 4096;
/// The Unix epoch as milliseconds since the Julian epoch, which is how SQLite counts.
const UNIX_EPOCH_JULIAN_MS: i64 = 210_866_760_000_000;

/// The disk's entry in SQLite's list of file systems. Taken off the list when dropped; every open file keeps the disk,
/// and with it the entry, alive.
pub(super) struct Registration {
    vfs: *mut ffi::sqlite3_vfs,
    name: CString,
    owner: *mut Weak<Inner>,
}

// SAFETY: the pointers are owned by this value, are dereferenced only by SQLite under the rules above, and what they lead
// to (`Weak<Inner>`) may itself be shared and sent.
unsafe impl Send for Registration {}
// SAFETY: as above; a shared `Registration` gives access to nothing but its name.
unsafe impl Sync for Registration {}

impl Registration {
    /// Puts the disk behind `owner` on SQLite's list under `name`, which no other disk may have.
    pub(super) fn new(name: &str, owner: Weak<Inner>) -> Self {
        let name = CString::new(name).expect("a disk's name holds no NUL");
        let owner = Box::into_raw(Box::new(owner));
        let vfs = Box::into_raw(Box::new(ffi::sqlite3_vfs {
            iVersion: 2,
            szOsFile: c_int::try_from(size_of::<File>()).expect("two pointers fit"),
            mxPathname: 512,
            pNext: ptr::null_mut(),
            zName: name.as_ptr(),
            pAppData: owner.cast(),
            xOpen: Some(open),
            xDelete: Some(delete),
            xAccess: Some(access),
            xFullPathname: Some(full_path),
            xDlOpen: None,
            xDlError: None,
            xDlSym: None,
            xDlClose: None,
            xRandomness: Some(randomness),
            xSleep: Some(sleep),
            xCurrentTime: None,
            xGetLastError: None,
            xCurrentTimeInt64: Some(current_time),
            xSetSystemCall: None,
            xGetSystemCall: None,
            xNextSystemCall: None,
        }));
        // SAFETY: `vfs` is a complete entry that lives until `drop` takes it off the list again.
        let result = unsafe { ffi::sqlite3_vfs_register(vfs, 0) };
        assert_eq!(
            result,
            ffi::SQLITE_OK,
            "SQLite takes a well-formed file system"
        );
        Self { vfs, name, owner }
    }

    pub(super) fn name(&self) -> &str {
        self.name.to_str().expect("the name was made from a str")
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: both came from `Box::into_raw` in `new` and are freed once, here. No connection can reach the entry any
        // more: each of them has a file open, and each open file holds the `Inner` whose drop leads here.
        unsafe {
            ffi::sqlite3_vfs_unregister(self.vfs);
            drop(Box::from_raw(self.vfs));
            drop(Box::from_raw(self.owner));
        }
    }
}

/// Seeds SQLite's generator, of which there is one in a process. It draws the salts of a WAL, so the same bytes land on
/// the disk again; no behaviour depends on it, so that other simulations in the process do no harm.
pub(crate) fn seed_sqlite(seed: u64) {
    let folded = c_int::try_from((seed ^ seed >> 31) & 0x7fff_ffff).expect("31 bits") | 1;
    // SAFETY: this operation takes an int and a database handle, which may be null.
    unsafe {
        ffi::sqlite3_test_control(
            ffi::SQLITE_TESTCTRL_PRNG_SEED,
            folded,
            ptr::null_mut::<ffi::sqlite3>(),
        )
    };
}

/// An open file: SQLite's part first, as it demands, and ours behind a pointer.
#[repr(C)]
struct File {
    base: ffi::sqlite3_file,
    handle: *mut Handle,
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// The disk behind an entry, unless it is being dropped.
///
/// # Safety
/// `vfs` is an entry made by [`Registration::new`] (rule 4).
unsafe fn disk(vfs: *mut ffi::sqlite3_vfs) -> Option<Arc<Inner>> {
    // SAFETY: `pAppData` is the boxed `Weak` of that entry and lives as long as the entry.
    unsafe { &*(*vfs).pAppData.cast::<Weak<Inner>>() }.upgrade()
}

/// # Safety
/// `file` was opened by [`open`] and not closed (rule 1), and no other call on it is running (rule 2).
unsafe fn handle<'a>(file: *mut ffi::sqlite3_file) -> &'a mut Handle {
    // SAFETY: `open` stored a pointer from `Box::into_raw` there, which only `close` frees.
    unsafe { &mut *(*file.cast::<File>()).handle }
}

/// # Safety
/// `name` is null or NUL-terminated and lives for the call (rule 3).
unsafe fn text<'a>(name: *const c_char) -> Option<&'a str> {
    // SAFETY: not null, and by contract NUL-terminated.
    (!name.is_null())
        .then(|| unsafe { CStr::from_ptr(name) })
        .and_then(|name| name.to_str().ok())
}

/// The result code of an operation whose own kind of input/output error is `faulty`.
fn code(result: Result<(), Failure>, faulty: c_int) -> c_int {
    match result {
        Ok(()) => ffi::SQLITE_OK,
        Err(Failure::Busy) => ffi::SQLITE_BUSY,
        Err(Failure::Full) => ffi::SQLITE_FULL,
        Err(Failure::Dead | Failure::Faulty | Failure::Missing) => faulty,
    }
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    let journal =
        ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_SUPER_JOURNAL | ffi::SQLITE_OPEN_WAL;
    let mode = OpenMode {
        create: flags & ffi::SQLITE_OPEN_CREATE != 0,
        temporary: flags & ffi::SQLITE_OPEN_DELETEONCLOSE != 0,
        sync_name: flags & journal != 0,
    };
    // SAFETY: rules 1, 3 and 4; `flags_out` is null or writable. `pMethods` is null until a handle stands behind it.
    unsafe {
        (*file).pMethods = ptr::null();
        let Some(disk) = disk(vfs) else {
            return ffi::SQLITE_CANTOPEN;
        };
        let Ok(opened) = Handle::open(disk, text(name), mode) else {
            return ffi::SQLITE_CANTOPEN;
        };
        (*file.cast::<File>()).handle = Box::into_raw(Box::new(opened));
        (*file).pMethods = &raw const METHODS;
        if !flags_out.is_null() {
            *flags_out = flags;
        }
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    sync_directory: c_int,
) -> c_int {
    // SAFETY: rules 3 and 4.
    let (Some(disk), Some(path)) = (unsafe { (disk(vfs), text(name)) }) else {
        return ffi::SQLITE_IOERR_DELETE;
    };
    let mut state = guard(&disk.state);
    if state.image.find(path).is_none() {
        return ffi::SQLITE_IOERR_DELETE_NOENT;
    }
    let generation = state.generation;
    let mut result = state.admit(generation, Operation::Name);
    if result.is_ok() {
        state.image.remove(path);
        if sync_directory != 0 {
            result = state.sync_directory(generation, directory_of(path));
        }
    }
    code(result, ffi::SQLITE_IOERR_DELETE)
}

unsafe extern "C" fn access(
    vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: rules 3 and 4; `out` is writable.
    let (Some(disk), Some(path)) = (unsafe { (disk(vfs), text(name)) }) else {
        return ffi::SQLITE_IOERR_ACCESS;
    };
    let state = guard(&disk.state);
    let file = state
        .image
        .find(path)
        .and_then(|inode| state.image.file(inode));
    // As on a real disk, an empty file does not count when the question is whether there is a journal to play back.
    let there =
        file.is_some_and(|file| flags != ffi::SQLITE_ACCESS_EXISTS || !file.content().is_empty());
    // SAFETY: as above.
    unsafe { *out = c_int::from(there) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn full_path(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    size: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: rule 3; `out` has `size` bytes, which the check compares with what is copied, its NUL included.
    unsafe {
        let name = CStr::from_ptr(name).to_bytes_with_nul();
        if usize::try_from(size).is_ok_and(|size| name.len() <= size) {
            ptr::copy_nonoverlapping(name.as_ptr().cast(), out, name.len());
            ffi::SQLITE_OK
        } else {
            ffi::SQLITE_CANTOPEN
        }
    }
}

unsafe extern "C" fn randomness(
    vfs: *mut ffi::sqlite3_vfs,
    size: c_int,
    out: *mut c_char,
) -> c_int {
    let length = usize::try_from(size).unwrap_or(0);
    // SAFETY: rules 3 and 4: `out` has `size` writable bytes.
    let (disk, bytes) = unsafe {
        (
            disk(vfs),
            std::slice::from_raw_parts_mut(out.cast::<u8>(), length),
        )
    };
    if let Some(disk) = disk {
        guard(&disk.state).entropy.fill_bytes(bytes);
    }
    size
}

unsafe extern "C" fn sleep(vfs: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    // SAFETY: rule 4.
    if let Some(disk) = unsafe { disk(vfs) } {
        guard(&disk.state).owed += Duration::from_micros(u64::try_from(microseconds).unwrap_or(0));
    }
    microseconds
}

unsafe extern "C" fn current_time(vfs: *mut ffi::sqlite3_vfs, out: *mut i64) -> c_int {
    // SAFETY: rule 4.
    let clock = unsafe { disk(vfs) }.and_then(|disk| guard(&disk.state).clock.clone());
    let since_epoch = clock.map_or(Duration::ZERO, |clock| clock());
    let millis = i64::try_from(since_epoch.as_millis()).unwrap_or(0);
    // SAFETY: `out` is writable.
    unsafe { *out = UNIX_EPOCH_JULIAN_MS + millis };
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: rule 1: the handle is there, is freed once, and `pMethods` tells that it is gone.
    unsafe {
        (*file).pMethods = ptr::null();
        drop(Box::from_raw((*file.cast::<File>()).handle));
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    out: *mut c_void,
    size: c_int,
    offset: i64,
) -> c_int {
    let (Ok(length), Ok(offset)) = (usize::try_from(size), usize::try_from(offset)) else {
        return ffi::SQLITE_IOERR_READ;
    };
    // SAFETY: rules 1 to 3.
    let (handle, buffer) = unsafe {
        (
            handle(file),
            std::slice::from_raw_parts_mut(out.cast::<u8>(), length),
        )
    };
    match handle.read(offset, buffer) {
        Ok(read) if read == length => ffi::SQLITE_OK,
        Ok(read) => {
            // SQLite takes the rest for zeros, and says that corruption follows if they are not.
            buffer[read..].fill(0);
            ffi::SQLITE_IOERR_SHORT_READ
        }
        Err(failure) => code(Err(failure), ffi::SQLITE_IOERR_READ),
    }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    data: *const c_void,
    size: c_int,
    offset: i64,
) -> c_int {
    let (Ok(length), Ok(offset)) = (usize::try_from(size), usize::try_from(offset)) else {
        return ffi::SQLITE_IOERR_WRITE;
    };
    // SAFETY: rules 1 to 3.
    let (handle, bytes) = unsafe {
        (
            handle(file),
            std::slice::from_raw_parts(data.cast::<u8>(), length),
        )
    };
    code(handle.write(offset, bytes), ffi::SQLITE_IOERR_WRITE)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    let Ok(length) = usize::try_from(size) else {
        return ffi::SQLITE_IOERR_TRUNCATE;
    };
    // SAFETY: rules 1 and 2.
    code(
        unsafe { handle(file) }.resize(length),
        ffi::SQLITE_IOERR_TRUNCATE,
    )
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: rules 1 and 2.
    code(unsafe { handle(file) }.sync(), ffi::SQLITE_IOERR_FSYNC)
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, out: *mut i64) -> c_int {
    // SAFETY: rules 1 and 2; `out` is writable.
    unsafe {
        match handle(file).length() {
            Ok(length) => {
                *out = i64::try_from(length).unwrap_or(i64::MAX);
                ffi::SQLITE_OK
            }
            Err(failure) => code(Err(failure), ffi::SQLITE_IOERR_FSTAT),
        }
    }
}

fn level(number: c_int) -> LockLevel {
    match number {
        ffi::SQLITE_LOCK_NONE => LockLevel::None,
        ffi::SQLITE_LOCK_SHARED => LockLevel::Shared,
        ffi::SQLITE_LOCK_RESERVED => LockLevel::Reserved,
        ffi::SQLITE_LOCK_PENDING => LockLevel::Pending,
        _ => LockLevel::Exclusive,
    }
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, wanted: c_int) -> c_int {
    // SAFETY: rules 1 and 2.
    code(
        unsafe { handle(file) }.lock(level(wanted)),
        ffi::SQLITE_IOERR_LOCK,
    )
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, wanted: c_int) -> c_int {
    // SAFETY: rules 1 and 2.
    unsafe { handle(file) }.unlock(level(wanted));
    ffi::SQLITE_OK
}

unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: rules 1 and 2; `out` is writable.
    unsafe {
        match handle(file).is_reserved() {
            Ok(reserved) => {
                *out = c_int::from(reserved);
                ffi::SQLITE_OK
            }
            Err(failure) => code(Err(failure), ffi::SQLITE_IOERR_CHECKRESERVEDLOCK),
        }
    }
}

unsafe extern "C" fn file_control(_: *mut ffi::sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    SQLITE_SECTOR
}

/// As SQLite's own VFS on Linux: bytes beside a write are safe when it is torn, which the image keeps to.
unsafe extern "C" fn device_characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    index: c_int,
    size: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    let (Ok(index), Ok(size)) = (usize::try_from(index), usize::try_from(size)) else {
        return ffi::SQLITE_IOERR_SHMMAP;
    };
    // SAFETY: rules 1 and 2; `out` is writable. The region lives until the handle unmaps it or is closed, and SQLite
    // orders its own accesses by the slots' locks.
    unsafe {
        *out = ptr::null_mut();
        match handle(file).map(index, size, extend != 0) {
            Ok(region) => {
                *out = region.map_or(ptr::null_mut(), <*mut u64>::cast);
                ffi::SQLITE_OK
            }
            Err(failure) => code(Err(failure), ffi::SQLITE_IOERR_SHMMAP),
        }
    }
}

unsafe extern "C" fn shm_lock(
    file: *mut ffi::sqlite3_file,
    first: c_int,
    count: c_int,
    flags: c_int,
) -> c_int {
    let (Ok(first), Ok(count)) = (usize::try_from(first), usize::try_from(count)) else {
        return ffi::SQLITE_IOERR_SHMLOCK;
    };
    let request = if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
        SlotRequest::Unlock
    } else if flags & ffi::SQLITE_SHM_SHARED != 0 {
        SlotRequest::Shared
    } else {
        SlotRequest::Exclusive
    };
    // SAFETY: rules 1 and 2.
    code(
        unsafe { handle(file) }.lock_slots(first, count, request),
        ffi::SQLITE_IOERR_SHMLOCK,
    )
}

unsafe extern "C" fn shm_barrier(_: *mut ffi::sqlite3_file) {
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}

unsafe extern "C" fn shm_unmap(file: *mut ffi::sqlite3_file, _delete: c_int) -> c_int {
    // SAFETY: rules 1 and 2.
    unsafe { handle(file) }.unmap();
    ffi::SQLITE_OK
}
