#!/bin/sh
# The root file system of the container image: the program without its debug information, the
# libraries that ldd names for it, their licences, and the CAs. Nothing else: no shell, no package
# manager. The Dockerfile and `make image` both call it. Needs ldd, strip, and dpkg for the licences.
#
#     rootfs.sh PROGRAM DIRECTORY     DIRECTORY is made anew
set -eu
umask 022
program=$1 root=$2
here=$(cd "$(dirname "$0")/../.." && pwd)

rm -rf "$root"
install -D -m 755 "$program" "$root/usr/bin/sluice"
# The build id is a hash of the debug information too, which tells where it was built.
strip --strip-all --remove-section=.note.gnu.build-id "$root/usr/bin/sluice"
install -D -m 644 "$here/LICENSE" "$root/usr/share/doc/sluice/copyright"

# "libev.so.4 => /lib/…/libev.so.4 (0x…)", and the loader: "/lib64/ld-linux-x86-64.so.2 (0x…)".
# libcurl is loaded when something is to be released, and so not among them.
curl=$(ldconfig -p | sed -nE 's,.*libcurl\.so\.4 .*=> (/.*),\1,p' | head -n 1)
{
    echo "$curl"
    ldd "$program" "$curl" | sed -nE 's,^[^/]*(/[^ ]+) \(.*,\1,p'
} | sort -u | while read -r library; do
    install -D -m 755 "$library" "$root$library"
    package=$(dpkg-query -S "$(realpath "$library")" 2>/dev/null || dpkg-query -S "$library")
    package=${package%%:*}
    install -D -m 644 "/usr/share/doc/$package/copyright" "$root/usr/share/doc/$package/copyright"
done

# The system's CAs, where OpenSSL and libcurl look for them: the package's, and none that somebody has
# added to this machine.
bundle=/etc/ssl/certs/ca-certificates.crt
mkdir -p "$root/etc/ssl/certs" "$root/usr/lib/ssl" "$root/usr/share/doc/ca-certificates"
(LC_ALL=C && cat /usr/share/ca-certificates/mozilla/*.crt) >"$root$bundle"
ln -s "$bundle" "$root/usr/lib/ssl/cert.pem"
install -m 644 /usr/share/doc/ca-certificates/copyright "$root/usr/share/doc/ca-certificates/copyright"

# Who runs it. /run/sluice takes the admin socket where nothing is mounted there.
mkdir -p "$root/etc"
echo 'sluice:x:65532:65532::/:/usr/bin/sluice' >"$root/etc/passwd"
echo 'sluice:x:65532:' >"$root/etc/group"
install -d -m 1777 "$root/run/sluice" "$root/tmp"
# What every engine mounts; /proc is needed.
mkdir "$root/proc" "$root/dev" "$root/sys"
