package EasyTCPTest;

# What the Perl tests share: a guard against hanging, child processes that report back and never
# outlive their test, servers on free ports, and bytes on raw sockets. Nothing here waits for a fixed
# time: every wait is for an event, and the guard ends the test when one does not come.

use strict;
use Exporter ();
use IO::Socket::INET;
use IO::Select;
use IO::Handle;
use POSIX ();
use Socket qw(IPPROTO_TCP TCP_NODELAY);
use vars qw(@ISA @EXPORT $Pid $Watchdog $Deadline %Children);

@ISA    = qw(Exporter);
@EXPORT = qw(
    spawn spawn_server spawn_peer spawn_original new_server free_port run_until loop_of client_to
    raw_connect raw_negotiate write_to packet read_packet read_packets has_closed
    manual_hash binary_2mb rss_kb cpu_seconds threads_usable tls_usable ring_soon with_alarm
);

# ---- the guard ---------------------------------------------------------------------------------

# Seconds one test file may take before it is ended. Slow machines and valgrind multiply it.
$Deadline = $ENV{EASYTCP_TEST_DEADLINE} || 240;
$Pid      = $$;

# A small process that ends this one at the deadline. It leaves as soon as the pipe closes, so it
# cannot outlive the test, and uses no signal the tests might want for themselves.
sub _start_watchdog {
    my $parent = $$;
    pipe(my $r, my $w) or die "pipe: $!";
    my $pid = fork;
    die "fork: $!" unless defined $pid;
    if ($pid) {
        close $r;
        $Watchdog = { pid => $pid, pipe => $w };
        return;
    }
    close $w;
    $0 = 'easytcp test guard';
    my $left = IO::Select->new($r)->can_read($Deadline);
    if (!$left && kill 0, $parent) {
        print STDERR "# deadline of $Deadline seconds passed, ending test $parent\n";
        kill 'TERM', $parent;
        IO::Select->new($r)->can_read(2) or kill 'KILL', $parent;
    }
    POSIX::_exit(0);
}

_start_watchdog() if $^O ne 'MSWin32';

sub _reap {
    return if $$ != $Pid;
    foreach my $pid (keys %Children) {
        kill 'KILL', $pid;
        waitpid $pid, 0;
    }
    %Children = ();
    if ($Watchdog) {
        close $Watchdog->{pipe};
        kill 'KILL', $Watchdog->{pid};
        waitpid $Watchdog->{pid}, 0;
        $Watchdog = undef;
    }
    return;
}

END {
    my $status = $?;
    _reap() if $$ == $Pid && (!$threads::threads || !threads->tid);
    $? = $status;
}

# ---- children ----------------------------------------------------------------------------------

# Runs code($child) in a new process. There, $child->report("text") sends a line to the parent; here,
# $child->line waits for the next one (undef: the child ended), $child->poll takes one if it is there.
# $child->tell("text") sends a line the other way, $child->hear waits for it.
sub spawn {
    my ($code, %o) = @_;
    pipe(my $from_child, my $to_parent) or die "pipe: $!";
    pipe(my $from_parent, my $to_child) or die "pipe: $!";
    my $pid = fork;
    die "fork: $!" unless defined $pid;
    my $self = bless { pid => $pid, buffer => '' }, 'EasyTCPTest::Child';
    if ($pid) {
        close $to_parent;
        close $from_parent;
        $self->{in}  = $from_child;
        $self->{out} = $to_child;
        $Children{$pid} = 1;
        return $self;
    }
    close $from_child;
    close $to_child;
    # Descriptors of other children and of the guard would keep their pipes open.
    close $Watchdog->{pipe} if $Watchdog;
    $Watchdog = undef;
    %Children = ();
    $self->{in}  = $from_parent;
    $self->{out} = $to_parent;
    $SIG{ALRM} = 'DEFAULT';
    alarm $Deadline unless $o{own_alarm};
    my $ok = eval { $code->($self); 1 };
    my $why = $@;
    if (!$ok) {
        chomp $why;
        $self->report("DIED $why");
    }
    POSIX::_exit($ok ? 0 : 1) unless $o{normal_exit};
    exit($ok ? 0 : 1);
}

package EasyTCPTest::Child;

use strict;
use IO::Select;

sub report {
    my ($self, $text) = @_;
    $text =~ s/([\\\n])/$1 eq "\n" ? '\\n' : '\\\\'/ge;
    local ($\, $,);
    my $line = "$text\n";
    my $at = 0;
    while ($at < length $line) {
        my $n = syswrite $self->{out}, $line, length($line) - $at, $at;
        if (!defined $n) {
            next if $!{EINTR};
            return;
        }
        $at += $n;
    }
    return 1;
}

sub tell { goto &report }

sub _cut {
    my $self = shift;
    $self->{buffer} =~ s/^([^\n]*)\n// or return;
    my $text = $1;
    $text =~ s/\\(.)/$1 eq 'n' ? "\n" : $1/ge;
    return $text;
}

sub _fill {
    my $self = shift;
    while (1) {
        my $n = sysread $self->{in}, my $bytes, 65536;
        next if !defined $n && $!{EINTR};
        return 0 if !$n;
        $self->{buffer} .= $bytes;
        return 1;
    }
}

# Waits for the next line from the other side; undef when that side is gone.
sub line {
    my $self = shift;
    while (1) {
        my $text = $self->_cut;
        return $text if defined $text;
        return unless $self->_fill;
    }
}

sub hear { goto &line }

# The next line if it is already there. Sets {gone} when the other side is gone.
sub poll {
    my $self = shift;
    my $text = $self->_cut;
    return $text if defined $text;
    while (!$self->{gone} && IO::Select->new($self->{in})->can_read(0)) {
        $self->{gone} = 1 unless $self->_fill;
        $text = $self->_cut;
        return $text if defined $text;
    }
    return;
}

# All that are there.
sub poll_all {
    my $self = shift;
    my @lines;
    while (defined(my $text = $self->poll)) { push @lines, $text }
    return @lines;
}

# All remaining lines, until the child ends.
sub rest {
    my $self = shift;
    my @lines;
    while (defined(my $text = $self->line)) { push @lines, $text }
    return @lines;
}

sub pid { return $_[0]{pid} }

# Waits for the child to end; returns its wait status.
sub wait {
    my $self = shift;
    return $self->{status} if defined $self->{status};
    close $self->{out};
    waitpid $self->{pid}, 0;
    $self->{status} = $?;
    delete $EasyTCPTest::Children{ $self->{pid} };
    return $self->{status};
}

# Whether it has ended, without waiting.
sub ended {
    my $self = shift;
    return 1 if defined $self->{status};
    return 0 unless waitpid($self->{pid}, POSIX::WNOHANG()) == $self->{pid};
    $self->{status} = $?;
    delete $EasyTCPTest::Children{ $self->{pid} };
    return 1;
}

sub kill {
    my ($self, $signal) = @_;
    CORE::kill($signal || 'KILL', $self->{pid});
    return $self->wait;
}

package EasyTCPTest;

# ---- servers -----------------------------------------------------------------------------------

# A port that is free now. Another process may take it before it is used: new_server tries again.
sub free_port {
    my $sock = IO::Socket::INET->new(
        LocalAddr => '0.0.0.0',
        LocalPort => 0,
        Proto     => 'tcp',
        Listen    => 1,
    ) or die "no free port: $!";
    my $port = $sock->sockport;
    close $sock;
    return $port;
}

# A server object of the module under test on a free port: ($server, $port). class => 'Sub::Class'.
sub new_server {
    my %o = @_;
    my $class = delete $o{class} || 'Net::EasyTCP';
    foreach (1 .. 50) {
        my $port = free_port();
        my $server = $class->new(mode => 'server', port => $port, %o);
        return wantarray ? ($server, $port) : $server if $server;
        die "no server: $@" unless $@ =~ /^Could not create listening socket/;
    }
    die "no server after 50 ports: $@";
}

# A server in a child process. callbacks => {...} are set before it starts; they get the client as
# always and reach the parent by $EasyTCPTest::Me->report. Without callbacks it echoes: every message
# comes back, QUIT closes that client, DIE stops the server. setup => code($server) runs before start.
# Returns the child; $child->{port} is the port.
use vars qw($Me $Server);

sub spawn_server {
    my %o = @_;
    my $callbacks = delete $o{callbacks} || {};
    my $setup = delete $o{setup};
    my $tick = delete $o{tick};
    my $child = spawn(sub {
        $Me = shift;
        my ($server, $port) = new_server(%o);
        $Server = $server;
        $server->setcallback(data => \&_echo, %$callbacks) or die "setcallback: $@";
        $setup->($server) if $setup;
        $Me->report("PORT $port");
        $server->start($tick ? $tick : ()) or die "start: $@";
        $Me->report('STOPPED');
    });
    return _learn_port($child, 'server');
}

# Waits for the child's PORT line; dies of what else it said, or of how it ended.
sub _learn_port {
    my ($child, $what) = @_;
    my $line = $child->line;
    if (defined $line && $line =~ /^PORT (\d+)\z/) {
        $child->{port} = $1;
        return $child;
    }
    my @said = map { "$_; " } grep { defined } $line, $child->rest;
    my $status = $child->wait;
    die "$what did not come up: ", @said, "it ended ", ($status & 127 ? 'by signal ' . ($status & 127)
        : 'with status ' . ($status >> 8)), "\n";
}

sub _echo {
    my $client = shift;
    my $data = $client->data;
    return unless defined $data;
    $client->send($data) or $Me && $Me->report("SEND FAILED $@");
    return if ref $data;
    $client->close if $data eq 'QUIT';
    $Server->stop if $data eq 'DIE' && $Server;
    return;
}

# Runs the loop of one or more servers of this process until the condition holds.
sub run_until {
    my ($servers, $condition) = @_;
    my @servers = ref $servers eq 'ARRAY' ? @$servers : $servers;
    until ($condition->()) {
        foreach my $server (@servers) {
            $server->do_one_loop or die "do_one_loop: $@";
        }
    }
    return 1;
}

# The same as a code reference, for OldPeer's idle option.
sub loop_of {
    my $server = shift;
    return sub { $server->do_one_loop };
}

# An OldPeer server in a child process: accepts clients one after another and runs code($child, $peer)
# for each that negotiated; reports FAILED reason for each that did not. $child->{port} is the port.
sub spawn_peer {
    my ($code, %o) = @_;
    my $child = spawn(sub {
        my $me = shift;
        require OldPeer;
        $SIG{PIPE} = 'IGNORE';
        my $listener = OldPeer->listener(%o) or die OldPeer->error;
        $me->report('PORT ' . $listener->port);
        while (1) {
            my $peer = $listener->accept;
            if ($peer) {
                $code->($me, $peer);
            }
            else {
                $me->report('FAILED ' . OldPeer->error);
            }
        }
    });
    return _learn_port($child, 'peer');
}

# t/lib/original.pl in a child process, with the Net::EasyTCP of directory $lib and these arguments.
# What it prints arrives by line() and rest().
sub spawn_original {
    my ($lib, @arguments) = @_;
    return spawn(sub {
        my $me = shift;
        open STDOUT, '>&', $me->{out} or die "STDOUT: $!";
        open STDERR, '>&', $me->{out} or die "STDERR: $!";
        exec $^X, "-I$lib", 't/lib/original.pl', @arguments or die "exec: $!";
    });
}

# A client of a server at a port, or in a child. undef: $@ says why.
sub client_to {
    my ($server, @options) = @_;
    my $port = ref $server ? $server->{port} : $server;
    $@ = '';
    return Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port, @options);
}

# ---- signals -----------------------------------------------------------------------------------

# Rings once, soon; alarm() itself counts in whole seconds. That of perl 5.8.9's Time::HiRes may not ring.
sub ring_soon {
    my $has_hires = eval { require Time::HiRes; Time::HiRes->VERSION('1.9719'); Time::HiRes::alarm(0); 1 };
    return $has_hires ? Time::HiRes::alarm(0.2) : alarm 1;
}

# Runs code, out of which an alarm dies soon. Returns with what, or 'came back'.
sub with_alarm {
    my $code = shift;
    local $SIG{ALRM} = sub { die "alarm rang\n" };
    ring_soon();
    my $ok = eval { $code->(); 1 };
    my $why = $@;
    alarm 0;
    return $ok ? 'came back' : $why;
}

# ---- raw bytes ---------------------------------------------------------------------------------

sub raw_connect {
    my ($port) = @_;
    my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Proto => 'tcp')
        or die "cannot connect to $port: $!";
    setsockopt $sock, IPPROTO_TCP, TCP_NODELAY, 1;
    return $sock;
}

# Writes all of it, waiting as needed; false if the other end has closed.
sub write_to {
    my ($sock, $bytes) = @_;
    local $SIG{PIPE} = 'IGNORE';
    my $at = 0;
    while ($at < length $bytes) {
        my $n = syswrite $sock, $bytes, length($bytes) - $at, $at;
        return 0 unless $n;
        $at += $n;
    }
    return 1;
}

sub packet {
    my ($flags, $payload) = @_;
    my $length = pack 'N', length $payload;
    $length =~ s/^\0+//;
    return chr($flags) . chr(length $length) . $length . $payload;
}

sub _readable {
    my ($sock, $idle) = @_;
    my $select = IO::Select->new($sock);
    while (1) {
        return 1 if $select->can_read($idle ? 0 : 1);
        $idle->() if $idle;
    }
}

# Reads one packet: (flags, payload), the empty list at the end of the stream. $idle as in OldPeer.
sub read_packet {
    my ($sock, $idle) = @_;
    my $bytes = '';
    my $want = 2;
    while (1) {
        while (length $bytes < $want) {
            _readable($sock, $idle);
            my $n = sysread $sock, $bytes, $want - length $bytes, length $bytes;
            next if !defined $n && $!{EINTR};
            return if !$n;
        }
        my ($flags, $size) = unpack 'CC', $bytes;
        my $digits = length $bytes >= 2 + $size ? substr($bytes, 2, $size) : undef;
        if (!defined $digits) {
            $want = 2 + $size;
            next;
        }
        my $length = unpack 'N', ("\0" x (4 - length $digits)) . $digits;
        $want = 2 + $size + $length;
        return ($flags, substr($bytes, 2 + $size)) if length $bytes == $want;
    }
}

# All packets until the end of the stream, each [flags, payload].
sub read_packets {
    my ($sock, $idle) = @_;
    my @packets;
    while (my ($flags, $payload) = read_packet($sock, $idle)) {
        push @packets, [ $flags, $payload ];
    }
    return @packets;
}

# The shortest negotiation of a client without modules; leaves the socket ready for messages.
sub raw_negotiate {
    my ($sock, $idle) = @_;
    while (my ($flags, $payload) = read_packet($sock, $idle)) {
        my ($tag) = split /\0/, $payload;
        my $answer = $tag eq 'VE' ? "VE\0000.26" : $tag eq 'EA' ? "EU\0\0"
            : $tag eq 'CA' ? "CU\0\0" : $tag eq 'EK' ? "EK\0"
            : $tag eq 'COS' ? $payload : $tag eq 'SVE' ? $payload
            : $tag eq 'EN' ? 'EN' : 'NO';
        syswrite $sock, packet(1, $answer);
        return $sock if $tag eq 'EN';
    }
    die "server closed during negotiation\n";
}

# Waits until the other end closed; false when bytes come instead.
sub has_closed {
    my ($sock, $idle) = @_;
    while (1) {
        _readable($sock, $idle);
        my $n = sysread $sock, my $bytes, 65536;
        next if !defined $n && $!{EINTR};
        return 1 if !$n;
        return 0;
    }
}

# ---- data and facts ----------------------------------------------------------------------------

sub manual_hash { return { 'to be or' => 'not to be', 'just another' => 'perl hacker' } }

sub binary_2mb { return join('', map { chr } 0 .. 255) x 8192 }

# Resident memory of a process in KiB, or undef where /proc does not tell.
sub rss_kb {
    my $pid = shift || $$;
    open my $fh, '<', "/proc/$pid/status" or return;
    while (<$fh>) { return $1 if /^VmRSS:\s+(\d+)/ }
    return;
}

sub threads_usable {
    require Config;
    return $Config::Config{useithreads} && eval { require threads; 1 } ? 1 : 0;
}

# Policies of the machine, FIPS mode for one, may refuse what TLS needs.
sub tls_usable {
    return Net::EasyTCP->new(mode => 'server', port => '00', requireencryption => 'TLS') ? 1 : 0;
}

# user + system seconds of another process
sub cpu_seconds {
    my $pid = shift;
    open my $fh, '<', "/proc/$pid/stat" or return;
    my $line = <$fh>;
    $line =~ s/^.*\)\s+//s;
    my @field = split ' ', $line;
    return ($field[11] + $field[12]) / 100;
}

1;
