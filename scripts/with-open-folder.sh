#!/bin/sh
# with-open-folder.sh FOLDER COMMAND...: runs a command for which everybody may enter FOLDER, whose own mode stays as it is.
# In a mount namespace made for it (unshare --mount): an open folder lies over it, and on that all that is in it.
set -eu
folder=$1
shift
below=$(mktemp -d)
mount --rbind "$folder" "$below"
mount -t tmpfs -o mode=0755 tmpfs "$folder"
for entry in "$below"/.[!.]* "$below"/*; do
  name=$folder/${entry##*/}
  if [ -L "$entry" ]; then
    cp -P "$entry" "$name"
  elif [ -d "$entry" ]; then
    mkdir "$name"
    mount --rbind "$entry" "$name"
  elif [ -f "$entry" ]; then
    : >"$name"
    mount --bind "$entry" "$name"
  fi
done
umount -l "$below"
rmdir "$below"
exec "$@"
