#!/bin/bash
# MariaDB or PostgreSQL of Debian's packages, told what to be as the official images are: MYSQL_... or POSTGRES_...
set -euo pipefail

file_env() { # NAME from the file that NAME_FILE names
    local file="$1_FILE"
    [ -z "${!file:-}" ] || export "$1=$(<"${!file}")"
}

if [ -n "${POSTGRES_PASSWORD_FILE:-}${POSTGRES_PASSWORD:-}" ]; then
    file_env POSTGRES_PASSWORD
    user=${POSTGRES_USER:-postgres} data=${PGDATA:-/var/lib/postgresql/data}
    if [ ! -s "$data/PG_VERSION" ]; then
        # initdb itself refuses a folder that is not empty
        initdb --no-sync --username="$user" --pwfile=<(printf %s "$POSTGRES_PASSWORD") --auth-host=scram-sha-256 \
            --auth-local=trust -D "$data" > /dev/null
        echo 'host all all all scram-sha-256' >> "$data/pg_hba.conf"
        pg_ctl -D "$data" -o "-c listen_addresses='' -c jit=off" -w start > /dev/null
        createdb --host=/var/run/postgresql --username="$user" "${POSTGRES_DB:-$user}"
        pg_ctl -D "$data" -m fast -w stop > /dev/null
    fi
    exec postgres -D "$data" -c listen_addresses='*' -c jit=off "$@"
fi

for name in MYSQL_ROOT_PASSWORD MYSQL_PASSWORD; do file_env "$name"; done
[ -n "${MYSQL_ROOT_PASSWORD:-}" ] || { echo 'database is uninitialized and MYSQL_ROOT_PASSWORD is not set' >&2; exit 1; }
data=/var/lib/mysql
for word in "$@"; do
    case $word in --datadir=*) data=${word#*=} ;; esac
done
mkdir -p "$data"
if [ ! -d "$data/mysql" ]; then
    if [ -n "$(ls -A "$data")" ]; then # as mysqld --initialize, which is what lost+found stops
        echo "--initialize specified but the data directory $data has files in it. Aborting." >&2
        exit 1
    fi
    mariadb-install-db --no-defaults --datadir="$data" --skip-test-db --auth-root-authentication-method=normal > /dev/null
fi
# Carried out before the first connection is taken; what is there already is left alone.
: > /tmp/init.sql
chmod 600 /tmp/init.sql
{
    echo "ALTER USER root@localhost IDENTIFIED BY '$MYSQL_ROOT_PASSWORD';"
    echo "CREATE USER IF NOT EXISTS root@'%' IDENTIFIED BY '$MYSQL_ROOT_PASSWORD';"
    echo "GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;"
    [ -z "${MYSQL_DATABASE:-}" ] || echo "CREATE DATABASE IF NOT EXISTS \`$MYSQL_DATABASE\`;"
    if [ -n "${MYSQL_USER:-}" ]; then
        echo "CREATE USER IF NOT EXISTS '$MYSQL_USER'@'%' IDENTIFIED BY '$MYSQL_PASSWORD';"
        echo "GRANT ALL ON \`$MYSQL_DATABASE\`.* TO '$MYSQL_USER'@'%';"
    fi
} >> /tmp/init.sql
exec mariadbd --no-defaults --bind-address=0.0.0.0 --skip-name-resolve --socket=/run/mysqld/mysqld.sock \
    --innodb-log-file-size=16M --init-file=/tmp/init.sql "$@"
