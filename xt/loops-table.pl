#!/usr/bin/perl
# Prints the table of the manual's EVENT LOOPS that says what event loops do when a callback dies, after a
# fork, and when a descriptor that they watch is closed. Each is tried by itself with a pipe, without
# Net::EasyTCP.
#
#     perl xt/loops-table.pl [NAME ...]            all that are installed here, or these
#     perl xt/loops-table.pl --compare [NAME ...]  whether the manual says the same of them
#
# A row takes about three seconds. Tk needs a display (xvfb-run).

use strict;
use warnings;

use IO::Select;
use Time::HiRes qw(sleep time);

my $DOCUMENT = 'lib/Net/EasyTCP.pm';
my $SECONDS  = 0.6;

# Each: the module that has the version, how to begin, to watch a handle, and to run for some seconds.
my ($loop, @kept);
my @LOOPS = (
    'EV' => {
        module => 'EV',
        watch  => sub { my ($fh, $cb) = @_; push @kept, EV::io($fh, EV::READ(), $cb) },
        run    => sub { my $t = EV::timer(shift, 0, sub { EV::break() }); EV::run() },
    },
    'AnyEvent on EV' => {
        module => 'AnyEvent',
        begin  => sub { require EV; AnyEvent::detect() },
        any_event(),
    },
    'AnyEvent alone' => {
        module => 'AnyEvent',
        begin  => sub { $ENV{PERL_ANYEVENT_MODEL} = 'Perl'; AnyEvent::detect() },
        any_event(),
    },
    'Mojo on EV' => { module => 'Mojolicious', reactor => 'Mojo::Reactor::EV',   mojo() },
    'Mojo alone' => { module => 'Mojolicious', reactor => 'Mojo::Reactor::Poll', mojo() },
    'IO::Async, Epoll'  => { module => 'IO::Async::Loop::Epoll',  io_async('Epoll') },
    'IO::Async, Poll'   => { module => 'IO::Async::Loop::Poll',   io_async('Poll') },
    'IO::Async, Select' => { module => 'IO::Async::Loop::Select', io_async('Select') },
    'Event' => {
        module => 'Event',
        begin  => sub { Event->import },
        watch  => sub { my ($fh, $cb) = @_; push @kept, Event->io(fd => $fh, poll => 'r', cb => $cb) },
        run    => sub { my $t = Event->timer(after => shift, cb => sub { Event::unloop() }); Event::loop() },
    },
    'Glib' => {
        module => 'Glib',
        watch  => sub { my ($fh, $cb) = @_; Glib::IO->add_watch(fileno $fh, ['in'], sub { $cb->(); 1 }) },
        run    => sub {
            my $main = Glib::MainLoop->new;
            Glib::Timeout->add(1000 * shift, sub { $main->quit; 0 });
            $main->run;
        },
    },
    'Tk' => {
        module => 'Tk',
        begin  => sub { $loop = MainWindow->new },
        watch  => sub { my ($fh, $cb) = @_; $loop->fileevent($fh, readable => $cb) },
        run    => sub {
            my $over;
            $loop->after(1000 * shift, sub { $over = 1 });
            Tk::DoOneEvent(0) until $over;
        },
    },
    'POE' => {
        module => 'POE::Kernel',
        begin  => sub { require POE::Session; POE::Kernel->import; $loop = POE::Kernel->new },
        watch  => sub {
            my ($fh, $cb) = @_;
            POE::Session->create(inline_states => {
                _start => sub { $loop->select_read($fh, 'ready') },
                ready  => sub { $cb->() },
            });
        },
        run => sub {
            my $end = time + shift;
            POE::Session->create(inline_states => {
                _start => sub { $loop->delay(tick => 0.05) },
                tick   => sub { $loop->delay(tick => 0.05) if time < $end },
            });
            $loop->run_one_timeslice while time < $end;
        },
    },
    'IO::Select' => {
        module => 'IO::Select',
        begin  => sub { $loop = IO::Select->new },
        watch  => sub { my ($fh, $cb) = @_; $loop->add($fh); push @kept, $cb },
        run    => sub {
            my $end = time + shift;
            while ((my $left = $end - time) > 0) { $kept[-1]->() for $loop->can_read($left) }
        },
    },
);

sub any_event {
    return (
        watch => sub { my ($fh, $cb) = @_; push @kept, AnyEvent->io(fh => $fh, poll => 'r', cb => $cb) },
        run   => sub {
            my $over  = AnyEvent->condvar;
            my $timer = AnyEvent->timer(after => shift, cb => sub { $over->send });
            $over->recv;
        },
    );
}

sub mojo {
    return (
        begin => sub { require Mojo::IOLoop; $loop = Mojo::IOLoop->singleton },
        watch => sub { my ($fh, $cb) = @_; $loop->reactor->io($fh => $cb)->watch($fh, 1, 0) },
        run   => sub { $loop->timer(shift, sub { $loop->stop }); $loop->start },
    );
}

sub io_async {
    my $class = 'IO::Async::Loop::' . shift;
    return (
        begin => sub { $loop = $class->new },
        watch => sub { my ($fh, $cb) = @_; $loop->watch_io(handle => $fh, on_read_ready => $cb) },
        run   => sub { $loop->watch_time(after => shift, code => sub { $loop->stop }); $loop->run },
    );
}

my %LOOP = @LOOPS;
my @ALL  = @LOOPS[ grep { $_ % 2 == 0 } 0 .. $#LOOPS ];

exit try_one(@ARGV[ 1, 2 ]) if @ARGV && $ARGV[0] eq '--one';
my $compares = @ARGV && $ARGV[0] eq '--compare' ? shift : '';
my @rows     = map { row_of($_) || () } @ARGV ? @ARGV : @ALL;
exit($compares ? compare(@rows) : print_table(@rows));

# ---- one loop, in a perl of its own -------------------------------------------------------------

sub try_one {
    my ($name, $what) = @_;
    my $of = $LOOP{$name} || die "There is no $name\n";
    (my $file = "$of->{module}.pm") =~ s{::}{/}g;
    $SIG{ALRM} = sub { print "FOUND too late\n"; exit 1 };
    alarm 60;
    open STDERR, '>', '/dev/null' or die $!;
    $| = 1;
    local $ENV{MOJO_REACTOR} = $of->{reactor} if $of->{reactor};    # before it is loaded
    my $version = eval { require $file; $of->{module}->VERSION } || return 1;
    eval { $of->{begin}->() if $of->{begin}; 1 } || return 1;
    print "FOUND $version\n" if $what eq 'version';
    print 'FOUND ', { die => \&dies, fork => \&forks, close => \&closes }->{$what}->($of), "\n"
        if $what ne 'version';
    return 0;
}

# A byte is there and stays. The first call dies; is there a second one?
sub dies {
    my $of    = shift;
    my $calls = 0;
    pipe my $read, my $write or die $!;
    syswrite $write, 'x';
    $of->{watch}->($read, sub {
        die "oops\n" if !$calls++;
        sysread $read, my $byte, 1;
    });
    my $left = !eval { $of->{run}->($SECONDS); 1 };
    return $calls > 1 ? 'goes on' : 'goes on, without the watch' if !$left;
    eval { $of->{run}->($SECONDS) };
    return $calls > 1 ? 'leaves; may be run again' : 'ends for good';
}

# A daemon: the loop watches before the fork, and the parent has gone when the byte comes.
sub forks {
    my $of    = shift;
    my $calls = 0;
    pipe my $read,   my $write  or die $!;
    pipe my $result, my $answer or die $!;
    $of->{watch}->($read, sub { $calls++; sysread $read, my $byte, 1 });
    $of->{run}->(0.1);
    my $pid = fork;
    defined $pid or die $!;
    if ($pid) {
        close $answer;
        sleep 0.2;
        close $read;
        # Not ended as a program is, so that the loop does not tidy up; the kernel drops what the parent had.
        exec $^X, '-e', 'open my $fh, "<&=", shift; print scalar <$fh>', passed($result) or die $!;
    }
    sleep 0.4;
    syswrite $write, 'x';
    eval { $of->{run}->($SECONDS) };
    syswrite $answer, 'FOUND ' . ($calls ? 'goes on' : 'hears nothing') . "\n";
    require POSIX;
    POSIX::_exit(0);
}

# The number of a handle that a program run later has, too.
sub passed {
    my $fh = shift;
    require Fcntl;
    fcntl $fh, Fcntl::F_SETFD(), 0 or die $!;
    return fileno $fh;
}

# The handle is closed while it is watched.
sub closes {
    my $of    = shift;
    my $calls = 0;
    pipe my $read, my $write or die $!;
    $of->{watch}->($read, sub { $calls++ });
    $of->{run}->(0.1);
    close $read;
    my @before = times;
    my $left   = !eval { $of->{run}->($SECONDS); 1 };
    my @after  = times;
    my $busy   = ($after[0] + $after[1] - $before[0] - $before[1]) / $SECONDS;
    return 'leaves' if $left;
    return $calls > 1 ? 'calls again and again' : 'calls once' if $calls;
    return $busy > 0.05 ? 'is busy, silently' : 'nothing';
}

# ---- the table ----------------------------------------------------------------------------------

sub row_of {
    my $name  = shift;
    my @found = map { `$^X $0 --one '$name' $_` =~ /^FOUND (.*)$/m ? $1 : return } qw(version die fork close);
    return [ "$name $found[0]", @found[ 1 .. 3 ] ];
}

sub line_of { return sprintf "    %-26s  %-26s  %-13s  %s\n", @{ $_[0] } }

sub print_table {
    my @rows = @_;
    print line_of([ '', 'a callback that dies:', 'in a child', 'closed while' ]),
        line_of([ 'loop', 'the loop', 'of fork it', 'watched: it' ]),
        line_of([ '-' x 26, '-' x 26, '-' x 13, '-' x 21 ]), map { line_of($_) } @rows;
    return 0;
}

# Of the releases that the manual names.
sub compare {
    my @rows = @_;
    open my $fh, '<', $DOCUMENT or die "$DOCUMENT: $!\n";
    my $text = do { local $/ = undef; <$fh> };
    @rows = grep { index($text, "\n    $_->[0] ") > 0 } @rows;
    my @wrong = grep { index($text, "\n$_") < 0 } map { line_of($_) } @rows;
    print "Not in $DOCUMENT:\n", @wrong if @wrong;
    print scalar(@rows) - @wrong, ' of ', scalar(@rows), " loops do as the manual says\n";
    return @wrong ? 1 : 0;
}
