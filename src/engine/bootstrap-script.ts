/**
 * The shell script that installs packages with their own tools inside a container: `/mnt` has a .deb of each, named by the package.
 * Its arguments are the distribution's name and the moment the image is from, in seconds.
 * Like debootstrap: first what the scripts of all others count on, each configured, then the rest.
 * What would differ from run to run is removed; times are taken care of when the layer is written.
 */
export const BOOTSTRAP_SCRIPT = `set -eu
export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true LC_ALL=C HOME=/root
# Programs that write dates, such as the day a password was set, take this one.
export SOURCE_DATE_EPOCH="$2"
umask 022
for file in status available diversions statoverride; do
  [ -e /var/lib/dpkg/$file ] || : > /var/lib/dpkg/$file
done
[ -e /etc/localtime ] || ln -s /usr/share/zoneinfo/UTC /etc/localtime
# Services are not started in what is to become an image.
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
cd /mnt
install_first() {
  for name in "$@"; do
    [ ! -e "$name.deb" ] || /usr/bin/dpkg --force-unsafe-io --force-depends --force-overwrite --install "$name.deb"
  done
}
install_first base-passwd base-files dpkg libc6 perl-base mawk debconf
/usr/bin/dpkg --force-unsafe-io --force-depends --force-overwrite --unpack ./*.deb
/usr/bin/dpkg --force-unsafe-io --force-confold --configure --pending
broken=$(/usr/bin/dpkg --audit)
[ -z "$broken" ] || { echo "$broken"; exit 1; }
rm /usr/sbin/policy-rc.d
# What tells of this machine and this moment.
rm -f /etc/.pwd.lock /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow- /var/lib/dbus/machine-id
rm -f /var/lib/dpkg/*-old /var/lib/dpkg/lock /var/lib/dpkg/lock-frontend /var/lib/dpkg/triggers/Lock
rm -f /var/cache/debconf/*-old /var/cache/ldconfig/aux-cache /var/lib/apt/lists/lock /var/cache/apt/*.bin
rm -rf /var/cache/apt/archives/* /var/lib/apt/lists/* /tmp/* /var/tmp/* /run/*
mkdir -p /run/lock && chmod 1777 /run/lock
find /var/log -type f -exec rm {} +
[ ! -e /etc/machine-id ] || : > /etc/machine-id
mkdir -p /etc/apt/sources.list.d
cp distribution.sources "/etc/apt/sources.list.d/$1.sources"
`
