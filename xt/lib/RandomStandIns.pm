package RandomStandIns;

# An event loop, promises and futures as attach(), request_p() and request_f() use them, so that the test
# needs no other module, and so that all they do happens at once. The real ones are met by t/68-*.t.

use strict;
use warnings;

BEGIN { $INC{$_} = __FILE__ for 'EV.pm', 'Future.pm', 'Mojo/Promise.pm' }

{
    package EV;
    our %watched;
    my $number = 0;
    sub READ { return 1 }
    sub default_loop { return bless {}, 'EV::Loop' }

    # One round of all that are readable.
    sub once {
        my @all = map { $watched{$_} } sort keys %watched;
        for my $watcher (grep { $_ } @all) {
            vec(my $bits = '', $watcher->{fd}, 1) = 1;
            $watcher->{work}->() if select $bits, undef, undef, 0;
        }
        return;
    }

    sub EV::Loop::io {
        my ($loop, $handle, $mode, $work) = @_;
        my $self = bless { fd => fileno $handle, handle => $handle, work => $work, number => ++$number },
            'EV::Watcher';
        Scalar::Util::weaken($watched{$number} = $self);
        return $self;
    }
    sub EV::Watcher::DESTROY { delete $watched{ $_[0]{number} }; return }
}

{
    package Mojo::Promise;
    sub new { return bless {}, shift }
    sub resolve { my ($self, $value) = @_; return $self->_end([ $value, undef ]) }
    sub reject { my ($self, $text) = @_; return $self->_end([ undef, $text ]) }
    sub _end {
        my ($self, $end) = @_;
        $self->{end} = $end;
        $self->{then}->(@$end) if $self->{then};
        return $self;
    }

    # Calls code with the value, or with undef and the text of the failure.
    sub finally_call {
        my ($self, $code) = @_;
        $self->{then} = $code;
        $code->(@{ $self->{end} }) if $self->{end};
        return;
    }

    package Future;
    our @ISA = ('Mojo::Promise');
    sub is_ready { return $_[0]{end} ? 1 : 0 }
    sub done { goto &Mojo::Promise::resolve }
    sub fail { goto &Mojo::Promise::reject }
}

1;
