package lossyfs

import (
	"context"
	"fmt"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// maxSize is the size to which a file may grow, in bytes: it is in memory.
const maxSize = 1 << 30

// folder is the one folder.
type folder struct {
	fs.Inode
	disk *Disk
}

// node is a file in it.
type node struct {
	fs.Inode
	disk *Disk
	file *file
}

var (
	_ fs.NodeLookuper  = (*folder)(nil)
	_ fs.NodeReaddirer = (*folder)(nil)
	_ fs.NodeCreater   = (*folder)(nil)
	_ fs.NodeUnlinker  = (*folder)(nil)
	_ fs.NodeLinker    = (*folder)(nil)
	_ fs.NodeRenamer   = (*folder)(nil)
	_ fs.NodeFsyncer   = (*folder)(nil)

	_ fs.NodeGetattrer = (*node)(nil)
	_ fs.NodeSetattrer = (*node)(nil)
	_ fs.NodeOpener    = (*node)(nil)
	_ fs.NodeReader    = (*node)(nil)
	_ fs.NodeWriter    = (*node)(nil)
	_ fs.NodeFsyncer   = (*node)(nil)
)

// Mount mounts the disk on a folder, and returns how to unmount it. It needs
// /dev/fuse and the rights of root. The process that mounts it must not map
// its files: it would wait for itself.
func (d *Disk) Mount(dir string) (unmount func() error, err error) {
	server, err := fs.Mount(dir, &folder{disk: d}, &fs.Options{
		MountOptions: fuse.MountOptions{DirectMountStrict: true, FsName: "lossyfs", Name: "lossyfs", DisableXAttrs: true},
	})
	if err != nil {
		return nil, fmt.Errorf("mount lossyfs on %s (it needs /dev/fuse, and root): %w", dir, err)
	}
	return func() error {
		if err := server.Unmount(); err != nil {
			return fmt.Errorf("unmount %s: %w", dir, err)
		}
		server.Wait()
		return nil
	}, nil
}

func (n *folder) child(ctx context.Context, f *file, out *fuse.EntryOut) *fs.Inode {
	attributes(f, &out.Attr)
	return n.NewInode(ctx, &node{disk: n.disk, file: f}, fs.StableAttr{Mode: syscall.S_IFREG, Ino: f.ino})
}

func attributes(f *file, out *fuse.Attr) {
	out.Ino, out.Mode, out.Nlink, out.Blksize = f.ino, syscall.S_IFREG|0o600, 1, 4096
	out.Size = uint64(len(f.data))
	out.Blocks = (out.Size + sector - 1) / sector
}

// Lookup implements [fs.NodeLookuper].
func (n *folder) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (inode *fs.Inode, errno syscall.Errno) {
	errno = n.disk.look(func() syscall.Errno {
		f := n.disk.names[name]
		if f == nil {
			return syscall.ENOENT
		}
		inode = n.child(ctx, f, out)
		return 0
	})
	return inode, errno
}

// Readdir implements [fs.NodeReaddirer].
func (n *folder) Readdir(context.Context) (stream fs.DirStream, errno syscall.Errno) {
	errno = n.disk.look(func() syscall.Errno {
		var entries []fuse.DirEntry
		for name, f := range n.disk.names {
			entries = append(entries, fuse.DirEntry{Name: name, Ino: f.ino, Mode: syscall.S_IFREG})
		}
		stream = fs.NewListDirStream(entries)
		return 0
	})
	return stream, errno
}

// Create implements [fs.NodeCreater].
func (n *folder) Create(ctx context.Context, name string, _, _ uint32, out *fuse.EntryOut) (inode *fs.Inode, _ fs.FileHandle, _ uint32, errno syscall.Errno) {
	errno = n.disk.change(func() syscall.Errno {
		f, errno := n.disk.create(name)
		if errno == 0 {
			inode = n.child(ctx, f, out)
		}
		return errno
	})
	return inode, nil, 0, errno
}

// Unlink implements [fs.NodeUnlinker].
func (n *folder) Unlink(_ context.Context, name string) syscall.Errno {
	return n.disk.change(func() syscall.Errno {
		if n.disk.names[name] == nil {
			return syscall.ENOENT
		}
		delete(n.disk.names, name)
		return 0
	})
}

// Link implements [fs.NodeLinker].
func (n *folder) Link(ctx context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (inode *fs.Inode, errno syscall.Errno) {
	errno = n.disk.change(func() syscall.Errno {
		other, ok := target.(*node)
		switch {
		case !ok:
			return syscall.ENOTSUP
		case n.disk.names[name] != nil:
			return syscall.EEXIST
		}
		n.disk.names[name] = other.file
		inode = n.child(ctx, other.file, out)
		return 0
	})
	return inode, errno
}

// Rename implements [fs.NodeRenamer].
func (n *folder) Rename(_ context.Context, name string, _ fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	return n.disk.change(func() syscall.Errno {
		f := n.disk.names[name]
		switch {
		case flags != 0:
			return syscall.ENOTSUP
		case f == nil:
			return syscall.ENOENT
		}
		delete(n.disk.names, name)
		n.disk.names[newName] = f
		return 0
	})
}

// Fsync implements [fs.NodeFsyncer].
func (n *folder) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	return n.disk.change(n.disk.syncNames)
}

// Getattr implements [fs.NodeGetattrer].
func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return n.disk.look(func() syscall.Errno {
		attributes(n.file, &out.Attr)
		return 0
	})
}

// Setattr implements [fs.NodeSetattrer]: the size counts, the rest is accepted.
func (n *node) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	return n.disk.change(func() syscall.Errno {
		if size, ok := in.GetSize(); ok {
			if size > maxSize {
				return syscall.ENOSPC
			}
			n.file.truncate(int(size))
		}
		attributes(n.file, &out.Attr)
		return 0
	})
}

// Open implements [fs.NodeOpener]. Without direct I/O, so that files can be mapped.
func (n *node) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, 0, n.disk.look(func() syscall.Errno { return 0 })
}

// Read implements [fs.NodeReader].
func (n *node) Read(_ context.Context, _ fs.FileHandle, dest []byte, at int64) (fuse.ReadResult, syscall.Errno) {
	read := 0
	errno := n.disk.look(func() syscall.Errno {
		if at < int64(len(n.file.data)) {
			read = copy(dest, n.file.data[at:])
		}
		return 0
	})
	return fuse.ReadResultData(dest[:read]), errno
}

// Write implements [fs.NodeWriter].
func (n *node) Write(_ context.Context, _ fs.FileHandle, data []byte, at int64) (uint32, syscall.Errno) {
	errno := n.disk.change(func() syscall.Errno {
		if at+int64(len(data)) > maxSize {
			return syscall.ENOSPC
		}
		n.file.write(data, int(at))
		return 0
	})
	return uint32(len(data)), errno
}

// Fsync implements [fs.NodeFsyncer].
func (n *node) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	return n.disk.change(func() syscall.Errno { return n.disk.syncFile(n.file) })
}
